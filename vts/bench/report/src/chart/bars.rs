// SPDX-License-Identifier: Apache-2.0
//! Draws one chart of horizontal bars with labels on their left.

use anyhow::Result;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const FONT: &str = "sans-serif";
/// The SVG backend divides font sizes by 1.24: this one is 12 pixels.
const TEXT_SIZE: f64 = 14.88;
const TITLE_SIZE: f64 = 19.84;
/// The width of an average character in a wide sans-serif font of 12 pixels.
const CHARACTER_WIDTH: u32 = 7;
const LINE_HEIGHT: i32 = 18;
const MARGIN: i32 = 12;
const PLOT_WIDTH: u32 = 560;
/// Two lines: the numbers and the unit.
const AXIS_HEIGHT: u32 = 2 * LINE_HEIGHT as u32;
/// Charts with more rows also have an axis at the top.
const LONG_ROWS: usize = 30;
const GAP: i32 = 6;
const KEY_SIZE: i32 = 10;

const MARK: RGBColor = RGBColor(0x20, 0x20, 0x20);
const MUTED: RGBColor = RGBColor(0x60, 0x60, 0x60);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

type Plot<'a, X> = DrawingArea<SVGBackend<'a>, Cartesian2d<X, RangedCoordf64>>;

/// A chart.
#[derive(Clone, Debug)]
pub struct BarChart {
    /// What the chart shows, and for which kernel.
    pub title: String,
    /// Lines below the title.
    pub notes: Vec<String>,
    /// The unit of the axis.
    pub unit: String,
    /// The scale of the axis.
    pub scale: Scale,
    /// The legend.
    pub keys: Vec<Key>,
    /// The bars from top to bottom.
    pub groups: Vec<Group>,
}

/// The mapping of values to lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Proportional to the value, from 0.
    Linear,
    /// Proportional to the logarithm of the value, from a power of ten.
    Logarithmic,
}

/// An entry of the legend.
#[derive(Clone, Debug)]
pub enum Key {
    /// The meaning of a colour of bars.
    Colour(RGBColor, &'static str),
    /// The meaning of the marks.
    Mark(&'static str),
}

impl Key {
    fn width(&self) -> u32 {
        let (Self::Colour(_, label) | Self::Mark(label)) = self;
        text_width(label) + (KEY_SIZE + 3 * GAP) as u32
    }
}

/// Bars below a heading.
#[derive(Clone, Debug)]
pub struct Group {
    /// The heading.
    pub heading: String,
    /// The bars.
    pub bars: Vec<Bar>,
}

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// The label at the left of the bar.
    pub label: String,
    /// The parts from left to right; on a logarithmic axis there is only one.
    pub parts: Vec<(f64, RGBColor)>,
    /// The value of the bar. It may differ from the sum of the parts, because medians do not add
    /// up.
    pub value: f64,
    /// A larger value, marked in the same row.
    pub mark: Option<f64>,
}

impl BarChart {
    /// Draws the chart as SVG.
    ///
    /// # Errors
    /// If the plotting library reports one.
    pub fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        let size = (self.width(), self.head_height() + self.plot_height());
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        let (head, plot) = root.split_vertically(self.head_height());
        self.draw_head(&head)?;
        let (first, last) = self.axis();
        match self.scale {
            Scale::Linear => self.draw_plot(&plot, RangedCoordf64::from(first..last), first)?,
            Scale::Logarithmic => {
                self.draw_plot(&plot, LogCoord::from((first..last).log_scale()), first)?;
            }
        }
        root.present()?;
        drop((root, head, plot));
        Ok(svg)
    }

    fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.groups.iter().flat_map(|group| &group.bars)
    }

    fn labels_width(&self) -> u32 {
        self.bars().map(|bar| text_width(&bar.label)).max().unwrap_or(0) + GAP as u32
    }

    fn texts_width(&self) -> u32 {
        self.bars().map(|bar| text_width(&bar.text())).max().unwrap_or(0) + GAP as u32
    }

    fn width(&self) -> u32 {
        let rows = self.labels_width() + PLOT_WIDTH + self.texts_width();
        let notes = self.notes.iter().map(|note| text_width(note));
        let keys = self.keys.iter().map(Key::width).sum();
        notes.chain([rows, keys]).max().unwrap_or(rows) + 2 * MARGIN as u32
    }

    fn head_height(&self) -> u32 {
        let lines = self.notes.len() as u32 + u32::from(!self.keys.is_empty());
        40 + lines * LINE_HEIGHT as u32
    }

    fn rows(&self) -> usize {
        self.groups.iter().map(|group| group.bars.len() + 1).sum()
    }

    /// Returns the heights of the axis labels at the top and at the bottom.
    fn axis_heights(&self) -> (u32, u32) {
        (if self.rows() > LONG_ROWS { AXIS_HEIGHT } else { 0 }, AXIS_HEIGHT)
    }

    fn plot_height(&self) -> u32 {
        let (top, bottom) = self.axis_heights();
        self.rows() as u32 * LINE_HEIGHT as u32 + top + bottom + 2 * MARGIN as u32
    }

    /// Returns the smallest and the largest value of the axis.
    fn axis(&self) -> (f64, f64) {
        let largest = self.bars().map(Bar::reach).fold(f64::MIN_POSITIVE, f64::max);
        match self.scale {
            Scale::Linear => (0.0, largest),
            Scale::Logarithmic => {
                let smallest = self.bars().map(Bar::end).fold(largest, f64::min);
                // Slightly less, so that rounding does not remove the first number of the axis.
                let below = 10_f64.powf(smallest.log10().ceil() - 1.0) * (1.0 - 1e-9);
                let decade = 10_f64.powf(largest.log10().floor());
                let above = [1.0, 2.0, 5.0].map(|factor| factor * decade);
                let end = above.into_iter().find(|end| *end >= largest);
                (below, end.unwrap_or(10.0 * decade))
            }
        }
    }

    /// Returns the largest number of labels on the axis.
    fn axis_numbers(&self) -> usize {
        let (first, last) = self.axis();
        match self.scale {
            Scale::Linear => 10,
            // The powers of ten.
            Scale::Logarithmic => (last / first).log10().floor() as usize + 1,
        }
    }

    fn draw_head(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<()> {
        let title = (FONT, TITLE_SIZE).into_font().style(FontStyle::Bold).color(&BLACK);
        area.draw(&Text::new(self.title.as_str(), (MARGIN, MARGIN), title))?;
        let mut y = MARGIN + 24;
        for note in &self.notes {
            area.draw(&Text::new(note.as_str(), (MARGIN, y), text(MUTED, HPos::Left, VPos::Top)))?;
            y += LINE_HEIGHT;
        }
        let mut x = MARGIN;
        for key in &self.keys {
            let (label, colour, width) = match key {
                Key::Colour(colour, label) => (label, *colour, KEY_SIZE),
                Key::Mark(label) => (label, MARK, 2),
            };
            let corners = [(x, y), (x + width, y + KEY_SIZE)];
            area.draw(&Rectangle::new(corners, colour.filled()))?;
            let place = (x + KEY_SIZE + GAP, y);
            area.draw(&Text::new(*label, place, text(BLACK, HPos::Left, VPos::Top)))?;
            x += key.width() as i32;
        }
        Ok(())
    }

    fn draw_plot<X>(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        values: X,
        first: f64,
    ) -> Result<()>
    where
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let (top, bottom) = self.axis_heights();
        let left = MARGIN + self.labels_width() as i32;
        let mut chart = ChartBuilder::on(area)
            .margin(MARGIN)
            .margin_right(self.width() as i32 - left - PLOT_WIDTH as i32)
            .set_label_area_size(LabelAreaPosition::Left, self.labels_width())
            .set_label_area_size(LabelAreaPosition::Top, top)
            .set_label_area_size(LabelAreaPosition::Bottom, bottom)
            .build_cartesian_2d(values, self.rows() as f64..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_labels(self.axis_numbers())
            .x_label_formatter(&|value| format!("{}", (value * 100.0).round() / 100.0))
            .label_style((FONT, TEXT_SIZE))
            .axis_style(GRID)
            .bold_line_style(GRID)
            .light_line_style(WHITE)
            .draw()?;
        let middle = left + PLOT_WIDTH as i32 / 2;
        let last = self.plot_height() as i32 - MARGIN;
        for (height, y, vertical) in [(top, MARGIN, VPos::Top), (bottom, last, VPos::Bottom)] {
            if height > 0 {
                let style = text(MUTED, HPos::Center, vertical);
                area.draw(&Text::new(self.unit.as_str(), (middle, y), style))?;
            }
        }
        let plot = chart.plotting_area();
        let mut row = 0.0;
        for group in &self.groups {
            let bold = (FONT, TEXT_SIZE).into_font().style(FontStyle::Bold).color(&BLACK);
            let heading = bold.pos(Pos::new(HPos::Left, VPos::Center));
            draw_text(plot, (first, row + 0.5), GAP, &group.heading, heading)?;
            row += 1.0;
            for bar in &group.bars {
                bar.draw(plot, first, row)?;
                row += 1.0;
            }
        }
        Ok(())
    }
}

impl Bar {
    fn end(&self) -> f64 {
        self.parts.iter().map(|(value, _)| value).sum()
    }

    /// Returns the largest value of the row.
    fn reach(&self) -> f64 {
        self.mark.unwrap_or(0.0).max(self.end())
    }

    /// Formats the values of the bar and of the mark as one text.
    fn text(&self) -> String {
        let value = number(self.value);
        self.mark.map_or(value.clone(), |mark| format!("{value} / {}", number(mark)))
    }

    /// Draws a row whose upper edge is `row` and whose left edge is `first`.
    fn draw<X>(&self, plot: &Plot<'_, X>, first: f64, row: f64) -> Result<()>
    where
        X: Ranged<ValueType = f64>,
    {
        let middle = row + 0.5;
        let left = || text(BLACK, HPos::Left, VPos::Center);
        draw_text(
            plot,
            (first, middle),
            -GAP,
            &self.label,
            text(BLACK, HPos::Right, VPos::Center),
        )?;
        let (mut start, mut end) = (first, 0.0);
        for (value, colour) in &self.parts {
            end += value;
            let corners = [(start, row + 0.12), (end, row + 0.88)];
            plot.draw(&Rectangle::new(corners, colour.filled()))?;
            start = end;
        }
        let Some(mark) = self.mark else {
            return draw_text(plot, (end, middle), GAP, &self.text(), left());
        };
        let line = [(mark, row + 0.05), (mark, row + 0.95)];
        plot.draw(&PathElement::new(line, MARK.stroke_width(2)))?;
        let pixel = |value| plot.map_coordinate(&(value, row)).0;
        if pixel(mark) - pixel(end) < text_width(&number(self.value)) as i32 + 2 * GAP {
            return draw_text(plot, (mark, middle), GAP, &self.text(), left());
        }
        draw_text(plot, (end, middle), GAP, &number(self.value), left())?;
        draw_text(plot, (mark, middle), GAP, &number(mark), left())
    }
}

/// Draws a text `offset` pixels to the right of a position.
fn draw_text<X>(
    plot: &Plot<'_, X>,
    place: (f64, f64),
    offset: i32,
    label: &str,
    style: TextStyle<'_>,
) -> Result<()>
where
    X: Ranged<ValueType = f64>,
{
    let text = Text::new(label.to_owned(), (offset, 0), style);
    Ok(plot.draw(&(EmptyElement::at(place) + text))?)
}

/// Returns the largest width that a text can have, in pixels.
fn text_width(text: &str) -> u32 {
    u32::try_from(text.chars().count()).map_or(u32::MAX, |count| count * CHARACTER_WIDTH)
}

fn text(colour: RGBColor, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    (FONT, TEXT_SIZE).into_font().color(&colour).pos(Pos::new(horizontal, vertical))
}

fn number(value: f64) -> String {
    let decimals = if value < 1.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(scale: Scale, bars: Vec<Bar>) -> BarChart {
        BarChart {
            title: "title".to_owned(),
            notes: vec!["note".to_owned()],
            unit: "unit".to_owned(),
            scale,
            keys: vec![Key::Colour(BLACK, "key"), Key::Mark("mark")],
            groups: vec![Group { heading: "heading".to_owned(), bars }],
        }
    }

    fn bar(label: &str, value: f64, mark: Option<f64>) -> Bar {
        Bar { label: label.to_owned(), parts: vec![(value, BLACK)], value, mark }
    }

    fn texts(svg: &str) -> Vec<&str> {
        svg.lines().filter(|line| !line.starts_with('<')).collect()
    }

    /// Returns the value of an attribute of the last element that contains a text.
    fn attribute(svg: &str, line: &str, name: &str) -> i32 {
        let lines: Vec<&str> = svg.lines().collect();
        let index = lines.iter().rposition(|found| *found == line).unwrap();
        let (_, rest) = lines[index - 1].split_once(&format!(" {name}=\"")).unwrap();
        rest.split_once('"').unwrap().0.parse().unwrap()
    }

    #[test]
    fn long_labels_have_room_on_the_left() {
        let label = "x".repeat(100);
        let svg = chart(Scale::Linear, vec![bar(&label, 1.0, None)]).svg().unwrap();
        assert!(attribute(&svg, &label, "x") >= 100 * CHARACTER_WIDTH as i32);
    }

    #[test]
    fn long_notes_have_room_on_the_right() {
        let notes = vec!["x".repeat(200)];
        let bars = vec![bar("a", 100.0, None)];
        let svg = BarChart { notes, ..chart(Scale::Linear, bars) }.svg().unwrap();
        assert!(svg.starts_with(&format!("<svg width=\"{}\"", 200 * CHARACTER_WIDTH + 24)));
        let length = attribute(&svg, "100", "x") - attribute(&svg, "a", "x") - 2 * GAP;
        assert!((length - PLOT_WIDTH as i32).abs() <= 1, "{svg}");
    }

    #[test]
    fn lengths_are_in_proportion_on_a_linear_axis() {
        let bars = vec![bar("a", 100.0, None), bar("b", 50.0, None)];
        let svg = chart(Scale::Linear, bars).svg().unwrap();
        let start = attribute(&svg, "a", "x") + GAP;
        let length = |text| attribute(&svg, text, "x") - GAP - start;
        assert!((length("100") - PLOT_WIDTH as i32).abs() <= 1, "{svg}");
        assert!((length("100") - 2 * length("50.0")).abs() <= 2, "{svg}");
    }

    #[test]
    fn decades_are_equally_long_on_a_logarithmic_axis() {
        let bars = vec![bar("a", 0.3, None), bar("b", 3.0, None), bar("c", 300.0, None)];
        let svg = chart(Scale::Logarithmic, bars).svg().unwrap();
        let place = |text| attribute(&svg, text, "x");
        assert!((place("300") - place("3.0") - 2 * (place("3.0") - place("0.30"))).abs() <= 2);
        for text in ["0.1", "1", "10", "100"] {
            assert!(texts(&svg).contains(&text), "{text} is not in {svg}");
        }
    }

    #[test]
    fn each_power_of_ten_is_a_number_of_the_axis() {
        for exponent in -2..6 {
            let power = 10_f64.powi(exponent);
            let svg = chart(Scale::Logarithmic, vec![bar("a", 1.5 * power, None)]).svg().unwrap();
            assert!(texts(&svg).contains(&format!("{power}").as_str()), "{power} is not in {svg}");
        }
    }

    #[test]
    fn a_mark_close_to_its_bar_shares_the_text() {
        let bars = vec![bar("a", 10.0, Some(900.0)), bar("b", 90.0, Some(100.0))];
        let svg = chart(Scale::Logarithmic, bars).svg().unwrap();
        for text in ["10.0", "900", "90.0 / 100", "heading", "unit", "title", "note", "mark"] {
            assert!(texts(&svg).contains(&text), "{text} is not in {svg}");
        }
    }
}
