//! Measured figures as tables: Markdown for people, JSON for programs.

use std::fs;

use anyhow::Result;

use crate::paths::Paths;
use crate::ui;

/// Prints a benchmark's text, and writes it and its JSON where the last run's are.
pub fn publish(paths: &Paths, name: &str, text: &str, json: &str) -> Result<()> {
    ui::say(text);
    let folder = paths.cache.join("bench");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{name}.md")), text)?;
    fs::write(folder.join(format!("{name}.json")), json)?;
    ui::note(format!("written to {}", paths.show(&folder)));
    Ok(())
}

/// One figure: what, its value, and the limit the project has set itself.
pub struct Figure {
    /// Key in the JSON file.
    pub key: &'static str,
    /// Name in the table.
    pub name: &'static str,
    /// In `unit`; not a number when it could not be had.
    pub value: f64,
    /// `s`, `KiB`, or nothing.
    pub unit: &'static str,
    /// What it must not exceed, or nothing.
    pub limit: &'static str,
}

/// The figures as a Markdown table.
pub fn table(title: &str, figures: &[Figure]) -> String {
    let mut text = format!("{title}\n\n| figure | value | limit |\n|---|---:|---:|\n");
    for figure in figures {
        text.push_str(&format!(
            "| {} | {} | {} |\n",
            figure.name,
            format!("{} {}", number(figure.value), figure.unit).trim(),
            figure.limit
        ));
    }
    text
}

/// The figures as a JSON object.
pub fn json(title: &str, figures: &[Figure]) -> String {
    let rows: Vec<String> = figures
        .iter()
        .map(|figure| format!("  \"{}\": {}", figure.key, number(figure.value)))
        .collect();
    format!(
        "{{\n  \"conditions\": \"{title}\",\n{}\n}}\n",
        rows.join(",\n")
    )
}

/// Two digits behind the point where there is anything; `null` for what is not known.
fn number(value: f64) -> String {
    if value.is_nan() {
        "null".to_owned()
    } else if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// Times of several boots, in seconds, ascending.
pub struct Times(Vec<f64>);

impl Times {
    /// Of measurements in any order.
    pub fn new(mut seconds: Vec<f64>) -> Times {
        seconds.sort_by(f64::total_cmp);
        Times(seconds)
    }

    /// The shortest.
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The longest.
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        let count = self.0.len();
        match self.0.get(count / 2) {
            Some(middle) if count % 2 == 1 => *middle,
            Some(middle) => (middle + self.0[count / 2 - 1]) / 2.0,
            None => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_between_the_two_in_the_middle() {
        assert_eq!(Times::new(vec![4.0, 1.0, 3.0, 2.0]).median(), 2.5);
        assert_eq!(Times::new(vec![3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Times::new(vec![3.0, 1.0, 2.0]).min(), 1.0);
    }
}
