//! `rumpcap info`: shows what an image holds: partitions, superblock, features.

use crate::images::{self, Part};
use crate::outcome::{Run, Stop};
use crate::quote::for_message;
use crate::session::Session;
use crate::units::human;
use clap::Args;
use rumpcap::{FileSystemInfo, StatFs};
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

const EXAMPLES: &str = "\
Of a disk image with partitions and no @N, the partitions are shown and what is on each.

Examples:
  rumpcap info disk.img
  rumpcap info disk.img@2
  rumpcap info --json disk.img | jq -r '.file_systems[].features[]'";

/// Options of `info`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct InfoArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// The image, or one partition of it
    #[arg(value_name = "IMAGE[@N]")]
    image: OsString,
}

/// A file system in the image.
struct Found {
    partition: Option<u32>,
    info: FileSystemInfo,
    sizes: Option<StatFs>,
}

/// Runs `info`.
pub fn run(session: &mut Session, args: &InfoArgs) -> Run {
    let address = crate::address::parse(&args.image);
    let survey = images::survey(session, &address.image, address.partition)?;
    let mut found = Vec::new();
    for (partition, mount) in &survey.mounts {
        match mount.info() {
            Ok(info) => found.push(Found { partition: *partition, info, sizes: mount.stat_fs().ok() }),
            Err(e) => session.fail(&address.image, &e),
        }
    }
    let name = address.image.as_os_str().as_bytes();
    if args.json {
        let mut object = Map::new();
        crate::json::insert_name(&mut object, "image", name);
        object.insert("bytes".into(), survey.len_bytes.into());
        object.insert("partitions".into(), survey.parts.iter().map(part_json).collect());
        object.insert("file_systems".into(), found.iter().map(file_system_json).collect());
        serde_json::to_writer_pretty(&mut session.out, &Value::Object(object))?;
        writeln!(session.out)?;
    } else {
        line(session, "image", &for_message(name))?;
        line(session, "size", &format!("{} ({} bytes)", human(survey.len_bytes), survey.len_bytes))?;
        parts_text(session, &survey.parts)?;
        for one in &found {
            file_system_text(session, one)?;
        }
    }
    if found.is_empty() {
        return Err(Stop::Fatal(format!("{}: no known file system found", for_message(name))));
    }
    Ok(())
}

fn line(session: &mut Session, name: &str, value: &str) -> Run {
    // Labels come from the image.
    let value =
        String::from_utf8_lossy(&crate::quote::quote(value.as_bytes(), crate::quote::Quoting::Controls))
            .into_owned();
    Ok(writeln!(session.out, "{:<26} {value}", format!("{name}:"))?)
}

fn parts_text(session: &mut Session, parts: &[Part]) -> Run {
    for part in parts {
        let (size, start) = (human(part.len_bytes), part.start_bytes);
        let text = format!("{size} from byte {start}, {} {}", part.kind, part.label);
        line(session, &format!("partition {}", part.number), text.trim_end())?;
    }
    Ok(())
}

fn file_system_text(session: &mut Session, found: &Found) -> Run {
    if let Some(number) = found.partition {
        writeln!(session.out)?;
        line(session, "file system of partition", &number.to_string())?;
    }
    let info = &found.info;
    line(session, "file system", info.kind)?;
    line(session, "label", &info.label)?;
    line(session, "uuid", &info.uuid)?;
    line(session, "features", &info.features.join(" "))?;
    if let Some(s) = &found.sizes {
        line(session, "block size", &s.block_size.to_string())?;
        line(
            session,
            "blocks",
            &format!("{}, {} free, {} available", s.blocks, s.blocks_free, s.blocks_available),
        )?;
        line(session, "inodes", &format!("{}, {} free", s.inodes, s.inodes_free))?;
    }
    for (name, value) in &info.details {
        line(session, &name.replace('_', " "), value)?;
    }
    for warning in &info.warnings {
        line(session, "warning", warning)?;
    }
    Ok(())
}

fn part_json(part: &Part) -> Value {
    json!({
        "number": part.number, "start": part.start_bytes, "bytes": part.len_bytes,
        "type": part.kind, "label": part.label,
    })
}

fn file_system_json(found: &Found) -> Value {
    let info = &found.info;
    let details: Map<String, Value> =
        info.details.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
    let sizes = found.sizes.map(|s| {
        json!({
            "block_size": s.block_size, "blocks": s.blocks, "blocks_free": s.blocks_free,
            "blocks_available": s.blocks_available, "inodes": s.inodes, "inodes_free": s.inodes_free,
        })
    });
    json!({
        "partition": found.partition, "kind": info.kind, "label": info.label, "uuid": info.uuid,
        "features": info.features, "details": details, "warnings": info.warnings, "sizes": sizes,
    })
}
