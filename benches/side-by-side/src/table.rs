//! The tables, in Markdown.

use std::{collections::BTreeMap, fmt};

use crate::{
    Encryption,
    proxies::Proxy,
    rows::{Row, Sample},
};

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub encryption: Encryption,
    pub row: Row,
    pub proxy: Proxy,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encryption = match self.encryption {
            Encryption::Plain => "without TLS",
            Encryption::Tls => "with TLS",
        };
        write!(f, "{}, {}, {encryption}", self.proxy, self.row)
    }
}

/// All that was measured.
#[derive(Default)]
pub struct Results {
    /// By round.
    samples: BTreeMap<Cell, BTreeMap<usize, Sample>>,
    /// Messages that a trace did not show.
    unseen: BTreeMap<Cell, u64>,
    failures: Vec<String>,
}

impl Results {
    pub fn add(&mut self, cell: Cell, round: usize, sample: Sample, unseen: u64) {
        eprintln!("  {cell}: {}", digits(sample.value));
        self.samples.entry(cell).or_default().insert(round, sample);
        if unseen > 0 {
            *self.unseen.entry(cell).or_default() += unseen;
        }
    }

    /// Notes why something could not be measured.
    pub fn fail(&mut self, error: &anyhow::Error) {
        eprintln!("  FAILED: {error:#}");
        self.failures.push(format!("{error:#}"));
    }

    pub fn failures(&self) -> usize {
        self.failures.len()
    }

    /// One table: a number for each row and proxy. In brackets how it compares with `HAProxy`'s, by the
    /// median of the rounds' ratios: what slows down one round slows down both.
    fn table(
        &self,
        f: &mut fmt::Formatter<'_>,
        encryption: Encryption,
        unit: impl Fn(Row) -> String,
        of: impl Fn(Row, &Sample) -> Option<f64>,
        smaller_is_better: impl Fn(Row) -> bool,
    ) -> fmt::Result {
        let cells = || self.samples.keys().filter(|cell| cell.encryption == encryption);
        let mut proxies = cells().map(|cell| cell.proxy).collect::<Vec<_>>();
        let mut rows = cells().map(|cell| cell.row).collect::<Vec<_>>();
        proxies.sort_unstable();
        proxies.dedup();
        rows.dedup();
        let rounds = |row, proxy| -> BTreeMap<usize, f64> {
            let samples = self.samples.get(&Cell { encryption, row, proxy }).into_iter().flatten();
            samples.filter_map(|(round, sample)| Some((*round, of(row, sample)?))).collect()
        };
        rows.retain(|row| proxies.iter().any(|proxy| !rounds(*row, *proxy).is_empty()));
        proxies.retain(|proxy| rows.iter().any(|row| !rounds(*row, *proxy).is_empty()));
        writeln!(
            f,
            "| |{}",
            proxies.iter().map(|p| format!(" {p} |")).collect::<Vec<_>>().concat()
        )?;
        writeln!(f, "|---|{}", "---|".repeat(proxies.len()))?;
        for row in rows {
            write!(f, "| {row}, {} |", unit(row))?;
            let bases = rounds(row, Proxy::Haproxy);
            for proxy in proxies.iter().copied() {
                let values = rounds(row, proxy);
                let ratios = values.iter().filter_map(|(round, value)| {
                    let base = bases.get(round)?;
                    Some(if smaller_is_better(row) { base / value } else { value / base })
                });
                match (median(values.values().copied().collect()), median(ratios.collect())) {
                    (Some(value), Some(ratio)) if proxy != Proxy::Haproxy => {
                        write!(f, " {} ({ratio:.2}) |", digits(value))?;
                    }
                    (Some(value), _) => write!(f, " {} |", digits(value))?,
                    (None, _) => write!(f, " - |")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for encryption in [Encryption::Plain, Encryption::Tls] {
            if !self.samples.keys().any(|cell| cell.encryption == encryption) {
                continue;
            }
            let name = match encryption {
                Encryption::Plain => "Without TLS",
                Encryption::Tls => "With TLS from the client",
            };
            writeln!(f, "\n### {name}\n")?;
            let smaller = |row: Row| row.unit().smaller_is_better();
            let unit = |row: Row| row.unit().to_string();
            self.table(f, encryption, unit, |_, sample| Some(sample.value), smaller)?;
            writeln!(f, "\n### {name}: done in a CPU second of the proxy\n")?;
            let unit = |row: Row| row.unit().per_cpu().0.to_owned();
            self.table(f, encryption, unit, per_cpu, |_| false)?;
        }
        if !self.unseen.is_empty() {
            writeln!(f, "\nMessages that a trace counted but did not show:\n")?;
        }
        for (cell, unseen) in &self.unseen {
            writeln!(f, "- {cell}: {unseen}")?;
        }
        for failure in &self.failures {
            writeln!(f, "\nFAILED: {failure}")?;
        }
        Ok(())
    }
}

/// What was done in a CPU second, in the unit for that.
fn per_cpu(row: Row, sample: &Sample) -> Option<f64> {
    let (_, divisor) = row.unit().per_cpu();
    Some(sample.per_cpu()? / divisor)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// With as many digits as are worth something.
fn digits(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_of_the_same_round_and_above_one_is_better() {
        let mut results = Results::default();
        let mut add = |row, proxy, values: [f64; 3]| {
            for (round, value) in values.into_iter().enumerate() {
                let cell = Cell { encryption: Encryption::Plain, row, proxy };
                let cpu = Some((Duration::from_secs(2), 4e9));
                results.add(cell, round, Sample { value, cpu }, 0);
            }
        };
        add(Row::Fetch, Proxy::Haproxy, [100.0, 1000.0, 500.0]);
        add(Row::Fetch, Proxy::Off, [200.0, 2000.0, 400.0]);
        add(Row::Noop, Proxy::Haproxy, [10.0, 10.0, 10.0]);
        add(Row::Noop, Proxy::Off, [40.0, 40.0, 40.0]);
        let table = results.to_string();
        for line in [
            "| FETCH 1 MiB bodies, MB/s | 500 | 400 (2.00) |",
            "| NOOP, 1 session, median in us | 10.0 | 40.0 (0.25) |",
            "| FETCH 1 MiB bodies, GB | 2.00 | 2.00 (1.00) |",
        ] {
            assert!(table.contains(line), "{table}");
        }
    }
}
