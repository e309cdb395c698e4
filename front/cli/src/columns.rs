//! Columns: how many names fit beside each other, filled downwards as `ls` fills them.
//!
//! Who calls it: `ls`.

/// Blanks between columns.
const GAP: usize = 2;

/// The width in terminal cells of a name that is printed as `bytes`.
pub fn display_width(bytes: &[u8]) -> usize {
    let count = |chunk: std::str::Utf8Chunk<'_>| {
        unicode_width::UnicodeWidthStr::width(chunk.valid()) + chunk.invalid().len()
    };
    bytes.utf8_chunks().map(count).sum()
}

/// How a list is laid out in columns.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// Lines.
    pub rows: usize,
    /// Width of each column, gap included.
    pub widths: Vec<usize>,
}

/// The layout with the most columns, and so the fewest lines, in which `widths` fit into `line` cells.
pub fn layout(widths: &[usize], line: usize) -> Layout {
    let most = (line / (1 + GAP)).clamp(1, widths.len().max(1));
    let fitting = (1..=most).rev().map(|columns| with_columns(widths, columns));
    let fits = |l: &Layout| l.widths.iter().sum::<usize>().saturating_sub(GAP) < line;
    fitting.into_iter().find(fits).unwrap_or(Layout { rows: widths.len(), widths: vec![0] })
}

fn with_columns(widths: &[usize], columns: usize) -> Layout {
    let rows = widths.len().div_ceil(columns).max(1);
    let widest = |column: &[usize]| column.iter().max().copied().unwrap_or(0) + GAP;
    Layout { rows, widths: widths.chunks(rows).map(widest).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_columns_as_fit_filled_downwards() {
        let five = [3, 3, 3, 3, 3];
        assert_eq!(layout(&five, 80), Layout { rows: 1, widths: vec![5; 5] });
        assert_eq!(layout(&five, 14), Layout { rows: 2, widths: vec![5; 3] });
        assert_eq!(layout(&five, 4).rows, 5);
        assert_eq!(layout(&[], 80).rows, 1);
        assert_eq!(layout(&[500], 80).rows, 1);
    }

    #[test]
    fn wide_characters_take_two_cells() {
        assert_eq!(display_width("日本".as_bytes()), 4);
        assert_eq!(display_width(b"a\xffb"), 3);
    }
}
