//! Which crate may depend on which: arrows only point down.
//!
//! Normal and build dependencies of a crate lie in a lower layer than the crate itself. Tests (dev-dependencies)
//! may look up to `testing`, the fake world, and to nothing else. What reaches outside the process is for the host
//! layer, the front ends and the tools.

use super::Violation;
use crate::Result;
use crate::workspace::{Dependency, Package};
use std::path::Path;

/// The layers, lowest first. `fs/*` is one layer: file systems do not know each other. Nor do the library and the traces
/// that are made of it.
const LAYERS: &[&[&str]] = &[
    &["crates/host"],
    &["crates/block"],
    &["crates/vm"],
    &["crates/vfs"],
    &["fs/*"],
    &["crates/kernel", "crates/trace"],
    &["testing", "front/fuse", "front/nfs"],
    &["front/cli"],
    &["xtask", "fuzz", "testing/*"],
];

/// The layer that brings the hypercalls.
const HOST: usize = 0;
/// The highest layer of the kernel's crates.
const TOP_OF_KERNEL: usize = 4;
/// Crates that reach the host by themselves.
const OUTSIDE: &[&str] =
    &["async-std", "libc", "memmap2", "nix", "rustix", "smol", "tempfile", "tokio", "winapi"];

/// A package of the workspace and where it stands.
struct Member<'a> {
    package: &'a Package,
    folder: &'a str,
    layer: usize,
}

/// All arrows that do not point down.
///
/// # Errors
/// When a manifest cannot be read.
pub(super) fn check(root: &Path, packages: &[Package]) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    let mut members = Vec::new();
    for package in packages {
        let folder = package.folder().strip_prefix(root).unwrap_or(package.folder());
        let folder = folder.to_str().ok_or("a folder's name is not UTF-8")?;
        match layer_of(folder) {
            Some(layer) => members.push(Member { package, folder, layer }),
            None => violations.push(Violation {
                file: Path::new(folder).join("Cargo.toml"),
                line: 1,
                what: format!("{folder} is in no layer; xtask/src/layers/arrows.rs lists them"),
            }),
        }
    }
    for member in &members {
        let manifest = std::fs::read_to_string(&member.package.manifest_path)?;
        for dependency in &member.package.dependencies {
            if let Some(what) = objection(member, dependency, &members) {
                let line = line_of(&manifest, &dependency.name);
                violations.push(Violation { file: Path::new(member.folder).join("Cargo.toml"), line, what });
            }
        }
    }
    Ok(violations)
}

fn layer_of(folder: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.iter().any(|pattern| matches(pattern, folder)))
}

fn matches(pattern: &str, folder: &str) -> bool {
    match pattern.strip_suffix("/*") {
        Some(parent) => folder.split_once('/').is_some_and(|(p, name)| p == parent && !name.contains('/')),
        None => pattern == folder,
    }
}

/// Why `from` may not have `dependency`; `None` when it may.
fn objection(from: &Member<'_>, dependency: &Dependency, members: &[Member<'_>]) -> Option<String> {
    let is_dev = dependency.kind.as_deref() == Some("dev");
    let Some(to) = members.iter().find(|member| member.package.name == dependency.name) else {
        let is_kernel = from.layer > HOST && from.layer <= TOP_OF_KERNEL;
        let reaches_out = is_kernel && !is_dev && OUTSIDE.contains(&dependency.name.as_str());
        return reaches_out.then(|| {
            format!(
                "{} depends on {}, which reaches the host; only crates/host may",
                from.folder, dependency.name
            )
        });
    };
    if to.layer < from.layer || (is_dev && to.folder == "testing") {
        return None;
    }
    let where_it_is = if to.layer == from.layer { "in the same layer" } else { "above it" };
    Some(format!("{} depends on {}, which is {where_it_is}", from.folder, to.folder))
}

/// The line that declares `dependency`: `name = ...`, `name.workspace = true` or `[dependencies.name]`.
fn line_of(manifest: &str, dependency: &str) -> usize {
    let declares = |line: &str| {
        let line = line.trim();
        let table = line.strip_suffix(']').and_then(|line| line.rsplit_once("dependencies."));
        let key = line.split(['.', ' ', '=']).next().map(|key| key.trim_matches(['"', '\'']));
        key == Some(dependency) || table.is_some_and(|(_, name)| name == dependency)
    };
    manifest.lines().position(declares).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str, name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependency = |(name, kind): &(&str, Option<&str>)| Dependency {
            name: (*name).into(),
            kind: kind.map(Into::into),
        };
        Package {
            id: name.into(),
            name: name.into(),
            version: "0.1.0".into(),
            license: None,
            license_file: None,
            manifest_path: Path::new("/r").join(folder).join("Cargo.toml"),
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    }

    fn objections(packages: &[Package]) -> Vec<String> {
        let members: Vec<_> = packages
            .iter()
            .map(|package| {
                let folder = package.folder().strip_prefix("/r").unwrap().to_str().unwrap();
                Member { package, folder, layer: layer_of(folder).unwrap() }
            })
            .collect();
        members
            .iter()
            .flat_map(|m| m.package.dependencies.iter().filter_map(|d| objection(m, d, &members)))
            .collect()
    }

    #[test]
    fn the_order_is_that_of_the_design() {
        let order = [
            "crates/host",
            "crates/block",
            "crates/vm",
            "crates/vfs",
            "fs/ext4",
            "crates/kernel",
            "front/cli",
        ];
        let layers: Vec<_> = order.map(|folder| layer_of(folder).unwrap()).into();
        assert!(layers.is_sorted_by(|a, b| a < b), "{layers:?}");
        assert_eq!(layer_of("crates/other"), None);
        assert_eq!(layer_of("fs/ext4/deeper"), None);
    }

    #[test]
    fn down_is_allowed_up_is_not() {
        let up = [package("crates/block", "b", &[("f", None)]), package("fs/ext4", "f", &[("b", None)])];
        assert_eq!(objections(&up), ["crates/block depends on fs/ext4, which is above it"]);
    }

    #[test]
    fn file_systems_do_not_know_each_other() {
        let both = [package("fs/ext4", "e", &[]), package("fs/fat", "f", &[("e", Some("build"))])];
        assert_eq!(objections(&both), ["fs/fat depends on fs/ext4, which is in the same layer"]);
    }

    #[test]
    fn tests_may_look_up_to_the_fake_world_alone() {
        let packages = [
            package("crates/vm", "v", &[("t", Some("dev")), ("k", Some("dev"))]),
            package("crates/kernel", "k", &[("v", None)]),
            package("testing", "t", &[("k", None)]),
        ];
        assert_eq!(objections(&packages), ["crates/vm depends on crates/kernel, which is above it"]);
        let shipped = [package("crates/vm", "v", &[("t", None)]), package("testing", "t", &[])];
        assert_eq!(objections(&shipped), ["crates/vm depends on testing, which is above it"]);
    }

    #[test]
    fn kernel_crates_reach_the_host_through_the_host_layer() {
        let packages = [
            package("crates/host", "h", &[("rustix", None)]),
            package("crates/vm", "v", &[("rustix", None), ("tempfile", Some("dev"))]),
        ];
        assert_eq!(
            objections(&packages),
            ["crates/vm depends on rustix, which reaches the host; only crates/host may"]
        );
    }

    #[test]
    fn the_line_of_a_dependency_is_found_in_each_spelling() {
        let manifest =
            "[dependencies]\na = '1'\nb.workspace = true\n\n[target.'cfg(x)'.dependencies.c]\npath = '.'\n";
        assert_eq!(["a", "b", "c", "none"].map(|name| line_of(manifest, name)), [2, 3, 5, 1]);
    }
}
