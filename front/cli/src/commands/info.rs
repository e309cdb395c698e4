//! `rumpcap info`: shows what an image holds: partitions, superblock, features.

use crate::images;
use crate::outcome::{Run, Stop};
use crate::quote::for_message;
use crate::session::Session;
use crate::units::human;
use clap::Args;
use rumpcap::block::partition::{Partition, Table};
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
    let kernel = session.kernel()?;
    let survey = images::survey(session, &kernel, &address.image, address.partition)?;
    for (number, error) in &survey.broken {
        if let Stop::Fatal(text) = images::failed(&address.image, *number, error) {
            session.say(format_args!("{text}"));
            session.count_failures(1);
        }
    }
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
        object.insert("partition_table".into(), survey.table.as_ref().map(table_json).into());
        object.insert("file_systems".into(), found.iter().map(file_system_json).collect());
        serde_json::to_writer_pretty(&mut session.out, &Value::Object(object))?;
        writeln!(session.out)?;
    } else {
        line(session, "image", &for_message(name))?;
        line(session, "size", &format!("{} ({} bytes)", human(survey.len_bytes), survey.len_bytes))?;
        if let Some(table) = &survey.table {
            table_text(session, table)?;
        }
        for one in &found {
            file_system_text(session, one)?;
        }
    }
    if found.is_empty() && survey.broken.is_empty() {
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

fn table_text(session: &mut Session, table: &Table) -> Run {
    let backup = if table.is_backup { ", read from its backup: the primary is broken" } else { "" };
    line(session, "partition table", &format!("{} {}{backup}", table.scheme.name(), table.id))?;
    for part in &table.partitions {
        let (size, kind) = (human(part.len_bytes), images::type_name(part));
        let boot = if part.is_bootable { ", boot" } else { "" };
        let text = format!("{size} from byte {}, {kind}{boot} {}", part.offset, part.name);
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

fn table_json(table: &Table) -> Value {
    let part = |part: &Partition| {
        json!({
            "number": part.number, "start": part.offset, "bytes": part.len_bytes, "type": images::type_name(part),
            "id": part.id, "name": part.name, "bootable": part.is_bootable,
        })
    };
    json!({
        "scheme": table.scheme.name(), "id": table.id, "sector_bytes": table.sector_bytes, "is_backup": table.is_backup,
        "partitions": table.partitions.iter().map(part).collect::<Vec<_>>(),
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
