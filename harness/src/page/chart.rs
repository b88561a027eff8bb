//! What quantization costs, by bits per weight: one small chart for each measure, one sign for each model, drawn here and not by a script.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ground_truth_falsification::block;

use super::esc;
use crate::evidence::Record;
use crate::export::Findings;
use crate::report::{holds, short};

/// A chart: the check and its measure, what it says, and what is good.
struct Panel {
    check: &'static str,
    measure: &'static str,
    title: &'static str,
    note: &'static str,
}

const PANELS: [Panel; 5] = [
    Panel {
        check: "PPL-quantized",
        measure: "relative difference of the mean loss",
        title: "Perplexity",
        note: "Relative difference of the mean loss from that of the model as published.",
    },
    Panel { check: "SPC-rms", measure: "", title: "Weights", note: "Relative RMS of the worst tensor, from the weights as published." },
    Panel {
        check: "TOKEN",
        measure: "tokens that differ",
        title: "Tokens",
        note: "Greedy tokens of 32 that differ from those of the model as published; the worst prompt.",
    },
    Panel {
        check: "F-G4-kl",
        measure: "mean KL",
        title: "KL of the runtime",
        note: "Mean divergence from the reference on the values that the form holds: what the kernels add. The worst prompt.",
    },
    Panel {
        check: "F-G4-regret",
        measure: "largest regret",
        title: "Regret of the runtime",
        note: "Largest loss of log-probability by the chosen token, on the values that the form holds. The worst prompt.",
    },
];

/// A point: the worst row of one cell.
struct Point<'a> {
    cell: &'a str,
    model: &'a str,
    form: String,
    bits: f64,
    observed: f64,
    bound: Option<f64>,
    holds: bool,
}

/// Bits for each weight of the block type that a quantization is named after, scales included. A recipe spends more on some tensors.
fn bits(quantization: &str) -> Option<f64> {
    let name = quantization.split('@').next().unwrap_or_default();
    let base = ["_s", "_m", "_l"].iter().find_map(|size| name.strip_suffix(size)).unwrap_or(name);
    let dtype = match base {
        "q8" => "AprQ8".to_owned(),
        "q4" => "AprQ4".to_owned(),
        other => other.to_ascii_uppercase(),
    };
    let (elements, bytes) = block::size(&dtype)?;
    Some(bytes as f64 * 8.0 / elements as f64)
}

pub(super) fn section(out: &mut String, findings: &Findings) {
    out.push_str("<section id=\"drift\" aria-labelledby=\"drift-title\"><h2 id=\"drift-title\">Drift by quantization</h2>\n");
    let panels: Vec<(&Panel, Vec<Point>)> = PANELS.iter().map(|panel| (panel, points(panel, findings.records))).collect();
    let models: BTreeSet<&str> = panels.iter().flat_map(|(_, points)| points.iter().map(|point| point.model)).collect();
    if models.is_empty() {
        out.push_str("<p>No row of this run measures what quantization costs.</p></section>\n");
        return;
    }
    let series: BTreeMap<&str, usize> = models.iter().enumerate().map(|(place, model)| (*model, place)).collect();
    out.push_str("<p class=\"note\">Across: bits for each weight of the block type, scales included (a recipe spends more on some tensors). Up: worse, on a logarithmic scale; what is exactly zero stands on the lowest line. A dash is the bound, a filled sign is out of it.</p>\n<ul class=\"legend\">");
    for (model, place) in &series {
        let _ = write!(out, "<li><svg viewBox=\"0 0 14 14\" width=\"14\" height=\"14\" aria-hidden=\"true\">");
        sign(out, *place, 7.0, 7.0, true, "");
        let _ = write!(out, "</svg> {}</li>", esc(model));
    }
    out.push_str("</ul>\n<div class=\"charts\">\n");
    for (panel, points) in &panels {
        chart(out, panel, points, &series);
    }
    out.push_str("</div>\n");
    table(out, &panels);
    out.push_str("</section>\n");
}

/// The worst row of each cell; none of columns that hold every value, which have no drift.
fn points<'a>(panel: &Panel, records: &'a [Record]) -> Vec<Point<'a>> {
    let mut cells: BTreeMap<&str, Point> = BTreeMap::new();
    for record in records {
        let Some(axes) = record.axes.as_ref().filter(|axes| axes.check == panel.check) else { continue };
        let Some(bits) = bits(&axes.quantization) else { continue };
        let named = |measure: &&crate::evidence::Number| panel.measure.is_empty() || measure.name == panel.measure;
        let Some(number) = record.measures.iter().find(named) else { continue };
        let cell = crate::export::cell(record);
        let point = Point {
            cell,
            model: &axes.model,
            form: format!("{} {}", axes.format, axes.quantization),
            bits,
            observed: number.observed,
            bound: number.bound,
            holds: holds(number),
        };
        let worse = |old: &Point| (!point.holds, point.observed.abs()) > (!old.holds, old.observed.abs()) || point.observed.is_nan();
        if cells.get(cell).is_none_or(worse) {
            cells.insert(cell, point);
        }
    }
    cells.into_values().collect()
}

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 34.0;

/// Bits that are marked on the axis.
const TICKS: [f64; 5] = [2.0, 4.0, 8.0, 16.0, 32.0];

fn across(bits: f64) -> f64 {
    LEFT + (bits.log2() - 1.0) / 4.2 * (WIDTH - LEFT - RIGHT)
}

#[expect(clippy::too_many_lines, reason = "one drawing, from its frame to its points")]
fn chart(out: &mut String, panel: &Panel, points: &[Point], series: &BTreeMap<&str, usize>) {
    let _ = write!(
        out,
        "<figure><figcaption><strong>{}</strong> <span class=\"note\">{}</span></figcaption>",
        esc(panel.title),
        esc(panel.note)
    );
    if points.is_empty() {
        out.push_str("<p class=\"note\">No row of this run measures it.</p></figure>\n");
        return;
    }
    let shown = points.iter().flat_map(|point| [Some(point.observed), point.bound]).flatten();
    let logs: Vec<f64> = shown.filter(|value| value.is_finite() && *value > 0.0).map(f64::log10).collect();
    let low = logs.iter().copied().fold(f64::INFINITY, |a, b| if b < a { b } else { a }).floor();
    let high = logs.iter().copied().fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a }).ceil();
    let (low, high) = if low.is_finite() && high.is_finite() { (low, if high > low { high } else { low + 1.0 }) } else { (-1.0, 0.0) };
    let floor = HEIGHT - BOTTOM;
    // One step below the smallest power is for zero; what is not finite stands at the top.
    let up = |value: f64| {
        if value <= 0.0 {
            floor
        } else if value.is_finite() {
            floor - (value.log10() - low + 1.0) / (high - low + 1.0) * (floor - TOP)
        } else {
            TOP
        }
    };
    let bad = points.iter().filter(|point| !point.holds).count();
    let _ = write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        esc(&format!(
            "{} by bits per weight: {} cells, {bad} out of their bounds; the numbers are in the table below",
            panel.title,
            points.len()
        ))
    );
    let _ = write!(out, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{floor}\" y2=\"{floor}\"/>", WIDTH - RIGHT);
    let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">0</text>", LEFT - 5.0, floor + 4.0);
    let every = ((high - low) / 6.0).ceil().max(1.0) as i32;
    for power in (low as i32..=high as i32).step_by(every.unsigned_abs() as usize) {
        let y = up(10f64.powi(power));
        let _ = write!(out, "<line class=\"rule\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>", WIDTH - RIGHT);
        let label = if (-3..=3).contains(&power) { format!("{}", 10f64.powi(power)) } else { format!("1e{power}") };
        let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 5.0, y + 4.0);
    }
    for tick in TICKS {
        let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>", across(tick), floor + 15.0);
    }
    let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">bits per weight</text>", WIDTH - RIGHT, HEIGHT - 5.0);
    for point in points {
        let x = across(point.bits);
        if let Some(bound) = point.bound {
            let y = up(bound);
            let _ = write!(out, "<line class=\"bound\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>", x - 5.0, x + 5.0);
        }
    }
    for point in points {
        let bound = point.bound.map_or_else(|| "no bound".to_owned(), |bound| format!("bound {}", short(bound)));
        let title = format!("{}: {}, {bound}", point.cell, short(point.observed));
        sign(out, series.get(point.model).copied().unwrap_or(0), across(point.bits), up(point.observed), point.holds, &title);
    }
    out.push_str("</svg></figure>\n");
}

/// A sign for a series, by shape and by colour.
fn sign(out: &mut String, series: usize, x: f64, y: f64, holds: bool, title: &str) {
    let class = format!("class=\"point s{}{}\"", series % 5, if holds { "" } else { " bad" });
    let shape = match series % 5 {
        0 => format!("<circle {class} cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\">"),
        1 => format!("<path {class} d=\"M{:.1} {:.1}h8v8h-8z\">", x - 4.0, y - 4.0),
        2 => format!("<path {class} d=\"M{x:.1} {:.1}l5 9h-10z\">", y - 5.0),
        3 => format!("<path {class} d=\"M{x:.1} {:.1}l5 5-5 5-5-5z\">", y - 5.0),
        _ => format!("<path {class} d=\"M{:.1} {:.1}l8 8m0-8l-8 8\">", x - 4.0, y - 4.0),
    };
    let tag = if shape.starts_with("<circle") { "circle" } else { "path" };
    let title = if title.is_empty() { String::new() } else { format!("<title>{}</title>", esc(title)) };
    let _ = write!(out, "{shape}{title}</{tag}>");
}

/// The same numbers for who reads and does not look.
fn table(out: &mut String, panels: &[(&Panel, Vec<Point>)]) {
    /// A form, and its points by the place of their chart.
    type Row<'a> = (String, BTreeMap<usize, &'a Point<'a>>);
    let mut rows: BTreeMap<(&str, u64, &str), Row> = BTreeMap::new();
    for (place, (_, points)) in panels.iter().enumerate() {
        for point in points {
            let key = (point.model, (point.bits * 1e4) as u64, point.cell);
            rows.entry(key).or_insert_with(|| (point.form.clone(), BTreeMap::new())).1.insert(place, point);
        }
    }
    let _ = write!(
        out,
        "<details><summary>The numbers ({})</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"drift in numbers\"><table><thead><tr><th scope=\"col\">model</th><th scope=\"col\">form</th><th scope=\"col\" class=\"n\">bits</th>",
        rows.len()
    );
    for (panel, _) in panels {
        let _ = write!(out, "<th scope=\"col\" class=\"n\">{}</th>", esc(panel.title));
    }
    out.push_str("</tr></thead><tbody>\n");
    for ((model, bits, _), (form, points)) in &rows {
        let _ =
            write!(out, "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{:.2}</td>", esc(model), esc(form), *bits as f64 / 1e4);
        for place in 0..panels.len() {
            match points.get(&place) {
                None => out.push_str("<td class=\"n\">–</td>"),
                Some(point) if point.holds => {
                    let _ = write!(out, "<td class=\"n\">{}</td>", short(point.observed));
                }
                Some(point) => {
                    let _ = write!(out, "<td class=\"n out\">✕ {}</td>", short(point.observed));
                }
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div></details>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fixture::record;
    use ground_truth_falsification::verdict::{Measure, Verdict};

    #[test]
    fn bits_are_those_of_the_block() {
        assert_eq!([bits("q8_0"), bits("q4_k_m"), bits("f16"), bits("q4")], [Some(8.5), Some(4.5), Some(16.0), Some(4.5)]);
        assert_eq!([bits("q4_k_m@a file.gguf"), bits("nobody's")], [Some(4.5), None]);
    }

    #[test]
    fn the_worst_prompt_of_a_cell_is_its_point() {
        let row = |prompt: &str, observed: f64| {
            let measures = vec![Measure::gated("mean KL", observed, 1e-6, "nats")];
            record("m::gguf::q4_0::native", "F-G4-kl", Some(prompt), Verdict { measures, ..Verdict::falsified("", "") })
        };
        for numbers in [[1e-8, 1e-9], [1e-9, 1e-8], [f64::NAN, 1e-9], [1e-9, f64::NAN]] {
            let records = [row("a", numbers[0]), row("b", numbers[1])];
            let points = points(&PANELS[3], &records);
            let worst = if numbers.iter().any(|n| n.is_nan()) { f64::NAN } else { 1e-8 };
            assert_eq!(points.len(), 1);
            assert_eq!(points[0].observed.to_bits(), worst.to_bits());
            assert_eq!(points[0].holds, !worst.is_nan());
        }
    }

    /// The ordinates of the points and of the bounds, and the labels of the axis.
    fn drawn(numbers: &[(f64, Option<f64>)]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let point = |&(observed, bound): &(f64, Option<f64>)| Point {
            cell: "m::gguf::q8_0::r",
            model: "m",
            form: "gguf q8_0".to_owned(),
            bits: 8.0,
            observed,
            bound,
            holds: true,
        };
        let mut svg = String::new();
        chart(&mut svg, &PANELS[3], &numbers.iter().map(point).collect::<Vec<_>>(), &BTreeMap::from([("m", 0)]));
        let all = |before: &str, after: char| -> Vec<String> {
            svg.split(before).skip(1).filter_map(|rest| rest.split(after).next()).map(str::to_owned).collect()
        };
        let bounds = svg.split("class=\"bound\"").skip(1).filter_map(|rest| rest.split("y1=\"").nth(1)?.split('"').next());
        (all(" cy=\"", '"'), bounds.map(str::to_owned).collect(), all("text-anchor=\"end\">", '<'))
    }

    /// From zero at 196 to the largest power of ten at 10, each power as far from the next; what is no number stands on top.
    #[test]
    fn powers_of_ten_are_evenly_spaced_above_zero() {
        let (points, bounds, labels) = drawn(&[(1e-3, Some(1e-2)), (1e-1, None), (0.0, None), (f64::NAN, None)]);
        assert_eq!(points, ["134.0", "10.0", "196.0", "10.0"]);
        assert_eq!(bounds, ["72.0"]);
        assert_eq!(labels, ["0", "0.001", "0.01", "0.1", "bits per weight"]);
        let (points, _, labels) = drawn(&[(1e-9, None), (1e5, None)]);
        assert_eq!(
            (points[1].as_str(), labels),
            ("10.0", ["0", "1e-9", "1e-6", "0.001", "1", "1000", "bits per weight"].map(str::to_owned).to_vec())
        );
        assert_eq!(drawn(&[(0.0, None)]).2, ["0", "0.1", "1", "bits per weight"]);
    }
}
