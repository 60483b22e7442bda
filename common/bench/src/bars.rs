use std::fmt::Write as _;

const LABELS: f64 = 420.0;
const BARS: f64 = 420.0;
const ROW: f64 = 22.0;
const TOP: f64 = 40.0;

/// One row of a picture.
#[derive(Clone, Debug)]
pub struct Bar {
    pub label: String,
    /// How long the bar is, in proportion to the others.
    pub value: f64,
    /// What stands behind it.
    pub text: String,
}

/// An SVG with a bar for each row. Nothing in the texts is markup.
pub fn bars(title: &str, rows: &[Bar]) -> String {
    let longest = rows.iter().map(|row| row.value).fold(f64::MIN_POSITIVE, f64::max);
    let height = TOP + ROW * rows.len() as f64 + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"14\">{title}</text>\n",
        LABELS + BARS + 200.0
    );
    for (number, Bar { label, value, text }) in rows.iter().enumerate() {
        let y = TOP + ROW * number as f64;
        let width = value / longest * BARS;
        // Writing into a String cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{base}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{LABELS}\" y=\"{y}\" width=\"{width:.1}\" height=\"{bar}\" fill=\"#3a7d5c\"/>\
             <text x=\"{after:.1}\" y=\"{base}\">{text}</text>",
            x = LABELS - 8.0,
            base = y + ROW * 0.65,
            bar = ROW - 6.0,
            after = LABELS + width + 5.0,
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_a_bar() {
        let row = |label: &str, value| Bar { label: label.to_owned(), value, text: format!("{value} ms") };
        let svg = bars("How long", &[row("first", 8.0), row("second", 4.0)]);
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains(">first<") && svg.contains("width=\"420.0\"") && svg.contains("width=\"210.0\""), "{svg}");
        assert_eq!(bars("Nothing", &[]).matches("<rect").count(), 1, "the background");
    }
}
