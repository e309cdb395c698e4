//! `rumpcap find`: searches for files, with the expressions of find(1).
//!
//! clap sees the addresses and the expression as one list of words: single-dash words are not its spelling. [`expression`] parses them.
//! Memory: the walk's, and one path.

mod expression;
mod test;

use crate::json;
use crate::outcome::{Run, Stop};
use crate::quote::quote;
use crate::session::{Session, Target};
use crate::traverse::{Order, Visit, traverse};
use clap::Args;
use expression::{Expression, Plan};
use rumpcap::Metadata;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const EXAMPLES: &str = "\
Expression, as in find(1); combined by -a, -o, ! and parentheses:
  -name, -iname PATTERN      the last component matches
  -path, -ipath PATTERN      the whole path matches
  -type f,d,l,c,b,p,s        one of these types
  -size [+-]N[cwbkMG]        size, rounded up to the unit (b, 512 bytes)
  -mtime, -atime, -ctime [+-]N   age in days
  -mmin, -amin, -cmin [+-]N      age in minutes
  -uid, -gid, -inum, -links [+-]N
  -perm MODE, -MODE, /MODE   permissions: exactly, all of, any of
  -empty, -true, -false
  -maxdepth N, -mindepth N   levels below the start
  -print, -print0, -quit     actions; --json may stand here too

In patterns, * and ? match every character, / and a leading dot included. Paths are those in the image.

Examples:
  rumpcap find disk.img -name '*.conf'
  rumpcap find disk.img:/home -type f -size +100M -mtime -7
  rumpcap find disk.img:/ -perm -4000 -uid 0
  rumpcap find disk.img:/srv '(' -name '*.jpg' -o -name '*.png' ')' -print0 | xargs -0 -n 1 echo";

/// Options of `find`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct FindArgs {
    /// One JSON array of objects instead of paths
    #[arg(long)]
    json: bool,
    /// Where to search, then the expression
    #[arg(
        required = true,
        value_name = "IMAGE[:PATH]... [EXPRESSION]",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<OsString>,
}

/// What an expression decides by.
struct Candidate<'a> {
    target: &'a Target,
    path: &'a Path,
    metadata: &'a Metadata,
}

/// One run of `find`.
struct Find {
    json: bool,
    array: json::Array,
}

/// Runs `find`.
pub fn run(session: &mut Session, args: &FindArgs) -> Run {
    let begin = args.words.iter().position(|w| expression::begins_expression(w)).unwrap_or(args.words.len());
    let (addresses, words) = args.words.split_at(begin);
    if addresses.is_empty() {
        return Stop::usage("find: no image given before the expression");
    }
    let plan = expression::parse(words).map_err(|e| Stop::Usage(format!("find: {e}")))?;
    let mut find = Find { json: args.json || plan.json, array: json::Array::default() };
    let targets = session.targets(addresses)?;
    let end = targets.iter().try_for_each(|target| find.search(session, target, &plan));
    if find.json && matches!(end, Ok(()) | Err(Stop::Done)) {
        find.array.end(&mut session.out)?;
    }
    end
}

impl Find {
    fn search(&mut self, session: &mut Session, target: &Target, plan: &Plan) -> Run {
        traverse(
            session,
            target,
            Order::Device,
            plan.max_depth,
            &mut |session: &mut Session, visit: &Visit<'_>| {
                if visit.depth < plan.min_depth {
                    return Ok(());
                }
                let candidate = Candidate { target, path: visit.path, metadata: visit.metadata };
                self.decide(session, &plan.expression, &candidate).map(|_| ())
            },
        )
    }

    /// Whether the expression holds for `c`; does its actions on the way, as far as they are reached.
    fn decide(&mut self, session: &mut Session, e: &Expression, c: &Candidate<'_>) -> Run<bool> {
        Ok(match e {
            Expression::And(a, b) => self.decide(session, a, c)? && self.decide(session, b, c)?,
            Expression::Or(a, b) => self.decide(session, a, c)? || self.decide(session, b, c)?,
            Expression::Not(a) => !self.decide(session, a, c)?,
            Expression::Test(test) => test.holds(session, c),
            Expression::Print => {
                self.print(session, c)?;
                true
            }
            Expression::Print0 => {
                session.out.write_all(c.path.as_os_str().as_bytes())?;
                session.out.write_all(b"\0")?;
                true
            }
            Expression::Quit => return Err(Stop::Done),
        })
    }

    fn print(&mut self, session: &mut Session, c: &Candidate<'_>) -> Run {
        if self.json {
            return self.print_object(session, c);
        }
        let quoting = session.out.path_quoting();
        session.out.write_all(&quote(c.path.as_os_str().as_bytes(), quoting))?;
        Ok(session.out.write_all(b"\n")?)
    }

    fn print_object(&mut self, session: &mut Session, c: &Candidate<'_>) -> Run {
        let mut object = serde_json::Map::new();
        json::insert_name(&mut object, "path", c.path.as_os_str().as_bytes());
        object.extend(json::attributes(c.metadata));
        if c.metadata.is_symlink() {
            match c.target.mount.read_link_ino(c.metadata.ino()) {
                Ok(link) => json::insert_name(&mut object, "target", link.as_os_str().as_bytes()),
                Err(e) => session.fail(c.path, &e),
            }
        }
        self.array.push(&mut session.out, object)
    }
}
