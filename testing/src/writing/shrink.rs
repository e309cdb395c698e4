//! [`shrink`]: makes a failing sequence of operations small, by leaving out as many as can be.
//!
//! Source: A. Zeller, R. Hildebrandt, "Simplifying and isolating failure-inducing input", 2002, in its simplest form.

use super::operation::Op;

/// Leaves out operations for as long as `fails` says that the rest still fails, and asks it at most `tries` times.
pub fn shrink(ops: &[Op], tries: usize, mut fails: impl FnMut(&[Op]) -> bool) -> Vec<Op> {
    let mut ops = ops.to_vec();
    let mut left = tries;
    let mut piece = ops.len().div_ceil(2);
    while piece > 0 {
        let mut end = ops.len();
        let mut is_smaller = false;
        while end > 0 && left > 0 {
            let start = end.saturating_sub(piece);
            let without = [&ops[..start], &ops[end..]].concat();
            left -= 1;
            if fails(&without) {
                ops = without;
                is_smaller = true;
            }
            end = start.min(ops.len());
        }
        if !is_smaller || piece > 1 {
            piece /= 2;
        }
        if left == 0 {
            break;
        }
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_a_hundred() {
        let ops: Vec<Op> = (0..100).map(|slot| Op::Close { slot }).collect();
        let has = |ops: &[Op], slot| ops.contains(&Op::Close { slot });
        let small = shrink(&ops, 500, |ops| has(ops, 17) && has(ops, 80));
        assert_eq!(small, [Op::Close { slot: 17 }, Op::Close { slot: 80 }]);
    }
}
