//! One picture: a bar for each ratio, beside a line where both are equal.

use std::fmt::Write as _;

use crate::ratio::Ratio;

const LABELS: f64 = 380.0;
const BARS: f64 = 480.0;
const ROW: f64 = 22.0;
const TOP: f64 = 40.0;

/// No bar is longer than this many times etcd.
const MOST: f64 = 8.0;

/// An SVG of all ratios.
pub(crate) fn bars(ratios: &[Ratio<'_>]) -> String {
    let longest = ratios.iter().filter_map(|ratio| ratio.throughput).fold(2.0, f64::max).min(MOST);
    let scale = BARS / longest;
    let height = TOP + ROW * ratios.len() as f64 + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"14\">chainfire's throughput as a multiple of etcd's</text>\n",
        LABELS + BARS + 150.0
    );
    for (row, ratio) in ratios.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let times = ratio.throughput.unwrap_or(0.0);
        let width = times.clamp(0.0, longest) * scale;
        let colour = if times >= 1.0 { "#3a7d5c" } else { "#b5523b" };
        let label = format!("{} × {}: {}", ratio.kind, ratio.members, ratio.scenario);
        let p99 = ratio.p99.map(|p99| format!(" (p99 × {p99:.2})")).unwrap_or_default();
        // Writing into a String cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{text}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{LABELS}\" y=\"{y}\" width=\"{width:.1}\" height=\"{bar}\" fill=\"{colour}\"/>\
             <text x=\"{after:.1}\" y=\"{text}\">{times:.2}{p99}</text>",
            x = LABELS - 8.0,
            text = y + ROW * 0.65,
            bar = ROW - 6.0,
            after = LABELS + width + 5.0,
        );
    }
    let one = LABELS + scale;
    let _ = writeln!(
        svg,
        "<line x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"black\" stroke-dasharray=\"3 3\"/>\n</svg>",
        TOP - 6.0,
        height - 14.0
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{figures::Figures, subject::Kind};

    #[test]
    fn each_ratio_has_a_bar() {
        let rate = |per_second, p99| Figures { per_second, p99, ..Figures::default() };
        let ratio =
            |scenario, ours| Ratio::new((Kind::DropIn, 3, scenario), (1.0, 1.0), (rate(100.0, 2.0), rate(ours, 1.0)));
        let svg = bars(&[ratio("put", 250.0), ratio("range", 50.0)]);
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<rect x=").count(), 2);
        assert!(
            svg.contains("drop-in × 3: put") && svg.contains(">2.50 (p99 × 0.50)<") && svg.contains(">0.50 ("),
            "{svg}"
        );
    }
}
