//! [`Bar`]: parts of a whole as one line of cells, and the line of names below it.
//!
//! Who calls it: `view`. With colours a part is a stretch of its colour; without (`NO_COLOR`), of its letter.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

/// A part.
pub struct Part {
    /// Its name.
    pub name: String,
    /// Stands for it where there are no colours.
    pub letter: char,
    /// Its colour; nothing for what is free.
    pub colour: Option<Color>,
    /// How much of the whole it is.
    pub amount: u64,
    /// The same for people.
    pub label: String,
}

/// Parts of a whole.
pub struct Bar {
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// The whole: not less than their sum.
    pub whole: u64,
    /// Letters instead of colours.
    pub plain: bool,
}

impl Bar {
    /// Names and amounts of all parts that there are.
    pub fn legend(&self) -> Line<'static> {
        let parts = self.parts.iter().filter(|part| part.amount > 0);
        let spans = parts.flat_map(|part| {
            let (mark, style) = if self.plain { (part.letter, Style::new()) } else { ('■', part.style()) };
            let mark = if part.colour.is_none() { '·' } else { mark };
            [Span::styled(format!("{mark} "), style), Span::raw(format!("{} {}  ", part.name, part.label))]
        });
        Line::from_iter(spans)
    }
}

impl Part {
    fn style(&self) -> Style {
        self.colour.map_or(Style::new(), |colour| Style::new().fg(colour))
    }
}

impl Widget for Bar {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let width = u64::from(area.width);
        let (mut sum, mut from) = (0u64, 0);
        for part in &self.parts {
            sum = sum.saturating_add(part.amount);
            // Rounded where each part ends, so that the line adds up; what is there at all is seen if there is room.
            let end = (u128::from(sum) * u128::from(width) / u128::from(self.whole.max(1))) as u64;
            let to = end.max(from + u64::from(part.amount > 0 && part.colour.is_some())).min(width);
            for x in from..to {
                let cell = buffer.cell_mut((area.x + x as u16, area.y));
                let Some(cell) = cell.filter(|_| area.height > 0) else { continue };
                match part.colour {
                    Some(_) if self.plain => cell.set_char(part.letter),
                    Some(_) => cell.set_char('█').set_style(part.style()),
                    None => cell.set_char('·'),
                };
            }
            from = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(amounts: &[u64], whole: u64, width: u16) -> String {
        let part = |(at, &amount): (usize, &u64)| Part {
            name: String::new(),
            letter: char::from(b'a' + at as u8),
            colour: (at + 1 < amounts.len()).then_some(Color::Red),
            amount,
            label: String::new(),
        };
        let parts = amounts.iter().enumerate().map(part).collect();
        let area = Rect::new(0, 0, width, 1);
        let mut buffer = Buffer::empty(area);
        Bar { parts, whole, plain: true }.render(area, &mut buffer);
        buffer.content().iter().map(|cell| cell.symbol()).collect()
    }

    #[test]
    fn parts_are_as_long_as_they_are_large() {
        assert_eq!(line(&[5, 10, 5], 20, 20), "aaaaabbbbbbbbbb·····");
        assert_eq!(line(&[1, 0, 1000, 0], 1001, 10), "accccccccc", "the small one is seen");
        assert_eq!(line(&[], 0, 3), "   ");
        assert_eq!(line(&[u64::MAX, u64::MAX, 1], u64::MAX, 4), "aaaa");
    }

    proptest! {
        #[test]
        fn a_bar_never_leaves_its_line(amounts in proptest::collection::vec(any::<u64>(), 0..8), whole: u64, width in 0u16..90) {
            prop_assert_eq!(line(&amounts, whole, width).chars().count(), usize::from(width));
        }
    }
}
