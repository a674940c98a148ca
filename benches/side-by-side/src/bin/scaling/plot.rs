//! The results, as tables and as pictures.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// Tables of a run.
pub struct Report(pub Vec<Table>);

/// One picture: values for each of several things, by their number.
pub struct Table {
    file: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    series: Vec<(String, Vec<(usize, f64)>)>,
}

impl Report {
    /// Writes all tables as CSV and as SVG into a folder, and prints them in Markdown.
    pub fn save(&self, folder: &Path) -> Result<()> {
        for table in &self.0 {
            println!();
            fs::write(folder.join(table.file).with_extension("csv"), table.csv())?;
            let picture = folder.join(table.file).with_extension("svg");
            table.draw(&picture).map_err(|error| anyhow!("{}: {error}", picture.display()))?;
            print!("{}", table.markdown());
        }
        Ok(())
    }
}

impl Table {
    /// `points`: the name of a series, how many, and the value.
    pub fn new(
        file: &'static str,
        title: &'static str,
        x: &'static str,
        y: &'static str,
        points: impl Iterator<Item = (String, usize, f64)>,
    ) -> Self {
        let mut series = Vec::<(String, Vec<(usize, f64)>)>::new();
        for (name, count, value) in points {
            match series.iter_mut().find(|(known, _)| *known == name) {
                Some((_, points)) => points.push((count, value)),
                None => series.push((name, vec![(count, value)])),
            }
        }
        Self { file, title, x, y, series }
    }

    /// Each number in a row, with the value of each series.
    fn rows(&self) -> impl Iterator<Item = (usize, Vec<f64>)> {
        let counts = self.series.first().map(|(_, points)| points.as_slice()).unwrap_or_default();
        counts.iter().enumerate().map(|(row, (count, _))| {
            let value = |(_, points): &(String, Vec<(usize, f64)>)| points[row].1;
            (*count, self.series.iter().map(value).collect())
        })
    }

    fn csv(&self) -> String {
        let names = self.series.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>();
        let mut csv = format!("\"{}\",{}\n", self.x, names.join(","));
        for (count, values) in self.rows() {
            let values = values.iter().map(|value| format!("{value:.2}")).collect::<Vec<_>>();
            // Writing to a String does not fail.
            let _ = writeln!(csv, "{count},{}", values.join(","));
        }
        csv
    }

    fn markdown(&self) -> String {
        let names = self.series.iter().map(|(name, _)| format!(" {name} |")).collect::<Vec<_>>();
        let mut table = format!(
            "![{}](pictures/{}.svg)\n\n{}, {}:\n\n| {} |{}\n|---|{}\n",
            self.title,
            self.file,
            self.title,
            self.y,
            self.x,
            names.concat(),
            "---|".repeat(names.len())
        );
        for (count, values) in self.rows() {
            let values = values.iter().map(|value| format!(" {value:.1} |")).collect::<Vec<_>>();
            let _ = writeln!(table, "| {count} |{}", values.concat());
        }
        table
    }

    /// Numbers grow by factors, values from zero.
    fn draw(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        const COLOURS: [RGBColor; 4] = [
            RGBColor(0, 90, 181),
            RGBColor(220, 50, 32),
            RGBColor(26, 133, 90),
            RGBColor(212, 160, 0),
        ];
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let first = points().map(|(count, _)| *count).min().unwrap_or(1);
        let last = points().map(|(count, _)| *count).max().unwrap_or(1);
        let highest = points().map(|(_, value)| *value).fold(1.0, f64::max);

        let root = SVGBackend::new(path, (720, 400)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("{}, {}", self.title, self.y), ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d((first..last + 1).log_scale(), 0.0..highest * 1.35)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .x_desc(self.x)
            .draw()?;
        for ((name, points), colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            chart
                .draw_series(
                    LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3),
                )?
                .label(name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        root.present()?;
        Ok(())
    }
}
