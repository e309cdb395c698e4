//! Trees that are carried in and out: tar, rsync, dpkg, debootstrap. Each of them compares for itself, too.

use crate::shell::run;
use rumpcap_testing::images::{Kind, Spec, Tree};
use rumpcap_testing::mounted::{Driver, Image, Options, can_run, is_long, judged};
use rumpcap_testing::skip::skip;
use rumpcap_testing::tree::{self, Room};
use std::path::Path;

/// A directory of the host with files of every sort: holes, hard links, devices, attributes, access lists, odd names.
fn everything() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory to copy from");
    tree::fill(Tree::Rich, directory.path(), &Room::host(&Spec::new("copied", Kind::Ext4)));
    directory
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path without odd bytes")
}

/// fuse2fs sets times to whole seconds and has no access lists, so it cannot pass these.
fn can_hold_everything() -> bool {
    let can = Driver::chosen() != Driver::Fuse2fs;
    if !can {
        skip("fuse2fs does not keep all that is compared");
    }
    can
}

#[test]
fn tar_there_and_back() {
    if !can_run(&["tar", "rsync", "setfacl"]) || !can_hold_everything() {
        return;
    }
    let (source, back) = (everything(), tempfile::tempdir().expect("a directory to extract to"));
    let image = Image::ext4(256);
    judged(&image, &Options::default(), |mounted| {
        let script = r#"
            keep="--xattrs --xattrs-include=* --acls --sparse --numeric-owner"
            find "$1" -type s -delete # which tar leaves out
            tar -C "$1" $keep -cf "$3" .
            mkdir "$M/tree"
            tar -C "$M/tree" $keep -xpf "$3"
            tar -C "$M/tree" $keep --compare -f "$3"
            tar -C "$M/tree" $keep -cf - . | tar -C "$2" $keep -xpf -
            rsync -aHAX --dry-run --checksum --delete --itemize-changes "$1/" "$2/" > "$3.differences"
            cat "$3.differences"; test ! -s "$3.differences""#;
        let archive = image.beside("tree.tar");
        run(mounted, 120, script, &[text(source.path()), text(back.path()), text(&archive)]).map(drop)
    });
}

#[test]
fn rsync_with_everything_that_it_keeps() {
    if !can_run(&["rsync", "setfacl"]) || !can_hold_everything() {
        return;
    }
    let source = everything();
    let image = Image::ext4(256);
    judged(&image, &Options::memory("1m"), |mounted| {
        let script = r#"
            rsync -aHAXS "$1/" "$M/tree/"
            # Neither by size and time nor by content is anything left to be done.
            rsync -aHAXS --dry-run --itemize-changes --delete "$1/" "$M/tree/" > "$2"
            rsync -aHAXS --dry-run --itemize-changes --delete --checksum "$1/" "$M/tree/" >> "$2"
            cat "$2"; test ! -s "$2"
            # Again over what is there, written anew beside each file and renamed over it, then in place.
            rsync -aHAX --ignore-times "$1/" "$M/tree/"
            rsync -aHAX --ignore-times --inplace "$1/" "$M/tree/"
            rsync -aHAX --dry-run --itemize-changes --checksum "$1/" "$M/tree/" > "$2"
            cat "$2"; test ! -s "$2""#;
        run(mounted, 120, script, &[text(source.path()), text(&image.beside("differences"))]).map(drop)
    });
}

#[test]
fn dpkg_installs_upgrades_and_removes() {
    if !can_run(&["dpkg", "dpkg-deb"]) {
        return;
    }
    let image = Image::ext4(256);
    let work = tempfile::tempdir().expect("a directory for packages");
    judged(&image, &Options::memory("1m"), |mounted| {
        let script = r#"
            package() { # name version files
                top="$1/$2-$3"; mkdir -p "$top/DEBIAN" "$top/usr/share/$2/deep/er" "$top/etc/$2"
                for n in $(seq "$4"); do echo "$2 $3 $n" > "$top/usr/share/$2/deep/file-$n"; done
                seq 100000 > "$top/usr/share/$2/large"; ln -s ../large "$top/usr/share/$2/deep/link"
                echo "setting $3" > "$top/etc/$2/settings"; echo "/etc/$2/settings" > "$top/DEBIAN/conffiles"
                printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a test\n' \
                    "$2" "$3" > "$top/DEBIAN/control"
                dpkg-deb --root-owner-group -Znone --build "$top" "$1/$2_$3_all.deb" > /dev/null
            }
            for name in one two three; do package "$1" $name 1.0 200; package "$1" $name 2.0 150; done
            mkdir -p "$M/root/var/lib/dpkg/"{info,updates} ; touch "$M/root/var/lib/dpkg/"{status,available}
            d="dpkg --root=$M/root --log=/dev/null --force-confnew"
            $d --install "$1"/*_1.0_all.deb
            $d --verify
            $d --install "$1"/{one,two}_2.0_all.deb
            $d --verify
            $d --purge two
            test ! -e "$M/root/usr/share/two"; test ! -e "$M/root/etc/two"
            test "$(cat "$M/root/usr/share/one/deep/file-7")" = "one 2.0 7"
            test ! -e "$M/root/usr/share/one/deep/file-151"
            dpkg --root="$M/root" --audit"#;
        run(mounted, 120, script, &[text(work.path())]).map(drop)
    });
}

#[test]
fn debootstrap_of_a_small_debian() {
    if !can_run(&["debootstrap"]) {
        return;
    }
    if !is_long() {
        return skip("minutes and a mirror of Debian: RUMPCAP_MOUNTED_LONG runs it");
    }
    let image = Image::ext4(1024);
    judged(&image, &Options::default(), |mounted| {
        // Devices and programs of the mount are used: the new system is entered.
        let script = r#"
            debootstrap --variant=minbase bookworm "$M/debian" "${RUMPCAP_MIRROR:-http://deb.debian.org/debian}" > "$1" 2>&1 || { tail -50 "$1"; exit 1; }
            chroot "$M/debian" dpkg --verify
            chroot "$M/debian" dpkg --audit
            chroot "$M/debian" apt-get --version | head -1
            umount "$M/debian/proc" 2> /dev/null || true"#;
        run(mounted, 900, script, &[text(&image.beside("debootstrap.log"))]).map(drop)
    });
}
