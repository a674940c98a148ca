//! The tables, in Markdown.

use std::{collections::BTreeMap, fmt};

use crate::{
    Encryption,
    proxies::Proxy,
    rows::{Row, Sample, Unit},
};

/// All that was measured.
#[derive(Default)]
pub struct Results {
    samples: BTreeMap<(Encryption, Row, Proxy), Vec<Sample>>,
    /// Messages that a trace did not show.
    unseen: BTreeMap<(Encryption, Row, Proxy), u64>,
    failures: Vec<String>,
}

impl Results {
    pub fn add(
        &mut self,
        encryption: Encryption,
        row: Row,
        proxy: Proxy,
        sample: Sample,
        unseen: u64,
    ) {
        eprintln!("  {row}: {proxy}: {}", digits(sample.value));
        self.samples.entry((encryption, row, proxy)).or_default().push(sample);
        if unseen > 0 {
            *self.unseen.entry((encryption, row, proxy)).or_default() += unseen;
        }
    }

    /// Notes why something could not be measured.
    pub fn fail(
        &mut self,
        encryption: Encryption,
        row: Option<Row>,
        proxy: Proxy,
        error: &anyhow::Error,
    ) {
        let row = row.map_or_else(|| "all rows".to_owned(), |row| row.to_string());
        let failure = format!("{row}: {proxy}, {encryption:?}: {error:#}");
        eprintln!("  FAILED: {failure}");
        self.failures.push(failure);
    }

    pub fn failures(&self) -> usize {
        self.failures.len()
    }

    /// One table: a cell for each row and proxy, with what it is of a sample.
    fn table(
        &self,
        f: &mut fmt::Formatter<'_>,
        encryption: Encryption,
        of: impl Fn(Row, &Sample) -> Option<f64>,
        smaller_is_better: impl Fn(Row) -> bool,
    ) -> fmt::Result {
        let keys = || self.samples.keys().filter(|(of, ..)| *of == encryption);
        let mut proxies = keys().map(|(.., proxy)| *proxy).collect::<Vec<_>>();
        let mut rows = keys().map(|(_, row, _)| *row).collect::<Vec<_>>();
        proxies.sort_unstable();
        proxies.dedup();
        rows.dedup();
        let cell = |row, proxy| {
            let samples = self.samples.get(&(encryption, row, proxy))?;
            median(samples.iter().filter_map(|sample| of(row, sample)).collect())
        };
        rows.retain(|row| proxies.iter().any(|proxy| cell(*row, *proxy).is_some()));
        writeln!(
            f,
            "| |{}",
            proxies.iter().map(|p| format!(" {p} |")).collect::<Vec<_>>().concat()
        )?;
        writeln!(f, "|---|{}", "---|".repeat(proxies.len()))?;
        for row in rows {
            write!(f, "| {row} |")?;
            for proxy in proxies.iter().copied() {
                match (cell(row, proxy), cell(row, Proxy::Haproxy)) {
                    (None, _) => write!(f, " - |")?,
                    (Some(value), Some(base)) if proxy != Proxy::Haproxy => {
                        let better = smaller_is_better(row);
                        let ratio = if better { base / value } else { value / base };
                        write!(f, " {} ({ratio:.2}) |", digits(value))?;
                    }
                    (Some(value), _) => write!(f, " {} |", digits(value))?,
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
            if !self.samples.keys().any(|(of, ..)| *of == encryption) {
                continue;
            }
            let name = match encryption {
                Encryption::Plain => "without TLS",
                Encryption::Tls => "TLS from the client",
            };
            writeln!(f, "\n### Rates, {name}\n")?;
            let smaller = |row: Row| row.unit().smaller_is_better();
            self.table(f, encryption, |_, sample| Some(sample.value), smaller)?;
            writeln!(f, "\n### Done per CPU second of the proxy, {name}\n")?;
            writeln!(
                f,
                "GB for the rows in MB/s, thousands of commands or sessions for the others.\n"
            )?;
            self.table(f, encryption, per_cpu, |_| false)?;
        }
        for ((encryption, row, proxy), unseen) in &self.unseen {
            writeln!(f, "\n{row}: {proxy}, {encryption:?}: {unseen} messages were not shown.")?;
        }
        for failure in &self.failures {
            writeln!(f, "\nFAILED: {failure}")?;
        }
        Ok(())
    }
}

/// How much was done in a CPU second.
fn per_cpu(row: Row, sample: &Sample) -> Option<f64> {
    let (cpu, amount) = sample.cpu?;
    let unit = if row.unit() == Unit::Megabytes { 1e9 } else { 1e3 };
    Some(amount / cpu.as_secs_f64() / unit)
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
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
