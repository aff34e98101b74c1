//! Redis out of Debian's packages, unpacked below target/ with all it needs, the C library included.
//! This installs nothing and needs no root; apt checks the packages that it downloads.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use crate::command::{capture_within, run_quietly};
use crate::redis::native;
use crate::redis::server::Server;
use crate::report::say;

/// The prefix of our images' tags and of the folders. Change it together with their contents, so that xtask does not use
/// what an older xtask has made.
pub(crate) const RECIPE: &str = "r1-";

const PACKAGES: [&str; 2] = ["redis-server", "redis-tools"];

/// A download usually takes some seconds. A slow mirror may need more; a dead one must not hold up the tests.
const DOWNLOAD: Duration = Duration::from_secs(120);
/// For work without the network.
const LOCAL: Duration = Duration::from_secs(60);

/// The packages' files. Both processes and containers can run them.
pub(crate) struct UnpackedPackages {
    root: PathBuf,
    /// The names of all packages with their versions.
    packages: String,
    version: String,
    pub(crate) server: Server,
}

/// The packages of an earlier run or, if there are none, those that apt has now.
///
/// # Errors
///
/// When there is no apt, when it gets no package, or when its Redis is too old or does not run.
pub(crate) fn unpack(folder: &Path) -> Result<UnpackedPackages, String> {
    let root = root(folder);
    if let Ok(unpacked) = UnpackedPackages::at(&root) {
        return Ok(unpacked);
    }
    say("redis: unpacking Debian's packages below target/");
    fs::create_dir_all(folder).map_err(|error| cannot("create", folder, &error))?;
    remove_abandoned(folder);
    // Race: another xtask may unpack at the same time. So this works in a folder of its own, and moves it
    // into place when it is complete.
    let work = folder.join(format!("unpacking-{}", process::id()));
    let made = make(&work, &folder.join("apt"));
    let moved = made.and_then(|()| {
        let unpacked = work.join("root");
        // An existing folder is not usable; otherwise the search would have ended with it.
        let _ = fs::remove_dir_all(&root);
        fs::rename(&unpacked, &root).map_err(|error| cannot("create", &root, &error))
    });
    let _ = fs::remove_dir_all(&work);
    match (UnpackedPackages::at(&root), moved) {
        // Race: another xtask may have put its folder there first, which is as good as ours.
        (Ok(unpacked), _) => Ok(unpacked),
        (Err(_), Err(why)) | (Err(why), Ok(())) => Err(why),
    }
}

/// The server of an earlier run.
///
/// # Errors
///
/// When there is none, or it does not run.
pub(crate) fn unpacked_before(folder: &Path) -> Result<Server, String> {
    UnpackedPackages::at(&root(folder)).map(|unpacked| unpacked.server)
}

impl UnpackedPackages {
    fn at(root: &Path) -> Result<Self, String> {
        let list = root.join(LIST);
        let packages = fs::read_to_string(&list).map_err(|error| cannot("read", &list, &error))?;
        let server = native::checked(command(root)?)?;
        let Server::Native { version, .. } = &server else {
            return Err("the server is not a process".into());
        };
        Ok(Self { root: root.to_owned(), packages, version: version.clone(), server })
    }

    /// A tag that changes with any of the packages.
    pub(crate) fn tag(&self) -> String {
        format!("{RECIPE}{}-{:08x}", self.version, fnv(self.packages.as_bytes()))
    }

    /// All of it in a file.
    ///
    /// # Errors
    ///
    /// When `tar` fails.
    pub(crate) fn tar(&self, folder: &Path) -> Result<PathBuf, String> {
        let file = folder.join(format!("image-{}.tar", process::id()));
        let mut tar = Command::new("tar");
        tar.args(["--create", "--owner=0", "--group=0", "--numeric-owner", "--file"]).arg(&file);
        // Manuals, encodings and a tool for measurements are half of it.
        tar.args(["--exclude=./usr/share", "--exclude=gconv", "--exclude=redis-benchmark", "--directory"])
            .arg(&self.root)
            .arg(".");
        run_quietly(&mut tar, LOCAL, &folder.join("tar.log"))?;
        Ok(file)
    }
}

/// The file with the names of the packages.
const LIST: &str = "packages.txt";

fn root(folder: &Path) -> PathBuf {
    folder.join(format!("{RECIPE}debian"))
}

/// Downloads and unpacks everything into `work`/root.
fn make(work: &Path, own: &Path) -> Result<(), String> {
    let (debs, root) = (work.join("debs"), work.join("root"));
    for folder in [&debs, &root] {
        fs::create_dir_all(folder).map_err(|error| cannot("create", folder, &error))?;
    }
    download(&debs, own)?;

    let mut names = BTreeSet::new();
    for file in fs::read_dir(&debs).map_err(|error| cannot("read", &debs, &error))? {
        let file = file.map_err(|error| cannot("read", &debs, &error))?;
        // A failed attempt leaves files with other endings.
        if file.path().extension().is_none_or(|ending| ending != "deb") {
            continue;
        }
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(file.path()).arg(&root);
        capture_within(&mut unpack, LOCAL)?;
        names.insert(file.file_name().to_string_lossy().into_owned());
    }
    link_merged_folders(&root)?;
    native::checked(command(&root)?).map_err(|why| format!("Debian's redis-server: {why}"))?;
    // Crash: written last, so that an interrupted folder is not taken for a complete one.
    let list = names.into_iter().collect::<Vec<_>>().join("\n");
    fs::write(root.join(LIST), list).map_err(|error| cannot("write", &root.join(LIST), &error))
}

/// Downloads the packages by the lists of this system. If it has none or only old ones, downloads lists
/// first.
fn download(debs: &Path, own: &Path) -> Result<(), String> {
    // root's apt would switch to the user `_apt`, who may have no access to this folder.
    let mut apt = Apt { options: vec!["-oAPT::Sandbox::User=root".into()] };
    let Err(why) = apt.download(debs) else { return Ok(()) };
    say(format_args!("redis: {}", why.lines().next().unwrap_or_default()));
    say("redis: downloading apt's lists into target/");
    let (state, cache) = (own.join("lists"), own.join("cache"));
    for folder in [state.join("partial"), cache.join("archives/partial")] {
        fs::create_dir_all(&folder).map_err(|error| cannot("create", &folder, &error))?;
    }
    apt.options.push(format!("-oDir::State::lists={}", state.display()));
    apt.options.push(format!("-oDir::Cache={}", cache.display()));
    let mut update = apt.command("apt-get");
    update.arg("update");
    // One source of many that fails is no harm, as long as the packages are in the others.
    let updated = run_quietly(&mut update, DOWNLOAD, &own.join("update.log"));
    apt.download(debs).map_err(|why| updated.err().unwrap_or(why))
}

/// An apt with the lists that its options name.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn download(&self, debs: &Path) -> Result<(), String> {
        let packages = closure(&tree(self)?).ok_or("apt lists no package redis-server")?;
        // An earlier attempt may have left packages of other versions.
        fs::remove_dir_all(debs)
            .and_then(|()| fs::create_dir(debs))
            .map_err(|error| cannot("empty", debs, &error))?;
        let mut download = self.command("apt-get");
        download.arg("download").args(&packages).current_dir(debs);
        run_quietly(&mut download, DOWNLOAD, &debs.with_extension("log"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // This program reads apt's messages.
        command.env("LC_ALL", "C").args(&self.options);
        command
    }
}

/// The output of apt about the dependencies of Redis, of theirs, and so on.
fn tree(apt: &Apt) -> Result<String, String> {
    let mut depends = apt.command("apt-cache");
    depends.args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts"]);
    depends.args(["--no-breaks", "--no-replaces", "--no-enhances"]).args(PACKAGES);
    match capture_within(&mut depends, LOCAL) {
        Ok(tree) => Ok(tree),
        Err(why) if why.contains("No packages found") || why.contains("Unable to locate") => {
            Ok(String::new())
        }
        Err(why) => Err(why),
    }
}

/// Redis and the libraries that it needs, directly or through others, from the packages that apt names. It
/// omits other dependencies, such as packages that create users, because only installed services need them.
///
/// `None` when apt knows no Redis.
fn closure(tree: &str) -> Option<BTreeSet<String>> {
    let mut dependencies: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut package = "";
    // In a group `a | b` all but the last have the bar; the first is the usual one.
    let mut in_group = false;
    for line in tree.lines() {
        if !line.starts_with(' ') {
            package = line.trim();
            dependencies.entry(package).or_default();
        } else if let Some((kind, name)) = line.split_once("epends: ") {
            if !in_group {
                dependencies.entry(package).or_default().push(name.trim());
            }
            in_group = kind.starts_with(" |");
        }
    }

    let mut wanted = BTreeSet::new();
    let mut open: Vec<&str> = PACKAGES.to_vec();
    while let Some(package) = open.pop() {
        // Debian for one architecture calls all packages by their bare names.
        let needed = dependencies.get(package)?;
        if wanted.insert(package.to_owned()) {
            open.extend(needed.iter().filter(|name| name.starts_with("lib")));
        }
    }
    Some(wanted)
}

/// Debian since 13 has everything below /usr, and the links to it come from a package of their own.
fn link_merged_folders(root: &Path) -> Result<(), String> {
    for name in ["bin", "lib", "lib64"] {
        let (link, folder) = (root.join(name), format!("usr/{name}"));
        if !link.exists() && root.join(&folder).is_dir() {
            symlink(&folder, &link).map_err(|error| cannot("create", &link, &error))?;
        }
    }
    Ok(())
}

/// Starts the unpacked server through the unpacked loader. So it uses the C library that it was linked to,
/// even if this system has another one.
fn command(root: &Path) -> Result<Vec<String>, String> {
    let mut folders = BTreeSet::new();
    for parent in [root.join("lib"), root.join("usr/lib")] {
        let entries = fs::read_dir(&parent).into_iter().flatten().flatten().map(|entry| entry.path());
        // /lib/x86_64-linux-gnu and the like, which hold libraries themselves.
        folders.extend(entries.filter(|path| path.is_dir() && path.to_string_lossy().contains("-linux-")));
    }
    let in_folders = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let loader = in_folders
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux")))
        .ok_or("the packages contain no dynamic loader")?;
    let folders: Vec<_> = folders.iter().map(|folder| folder.to_string_lossy()).collect();
    Ok(vec![
        loader.to_string_lossy().into_owned(),
        "--library-path".into(),
        folders.join(":"),
        root.join("usr/bin/redis-server").to_string_lossy().into_owned(),
    ])
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &str, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Removes what a finder was at that was killed. Others that are at it now are younger.
fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = ["unpacking-", "image-"].iter().any(|start| name.to_string_lossy().starts_with(start));
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
        if ours && age > Duration::from_secs(60 * 60) {
            let _ = if entry.path().is_dir() {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            };
        }
    }
}

/// Fowler, Noll and Vo's hash, which is the same for every compiler.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
redis-server
  PreDepends: init-system-helpers
 |Depends: lsb-base
  Depends: sysvinit-utils
  Depends: redis-tools
redis-tools
  Depends: adduser
  Depends: libc6
 |Depends: libsystemd0
  Depends: libelogind0
    libelogind-compat
adduser
  Depends: libperl5.36
libc6
  Depends: libgcc-s1
libgcc-s1
  Depends: gcc-12-base
  Depends: libc6
libsystemd0
  PreDepends: libcap2
libcap2
libelogind0
libperl5.36
";

    #[test]
    fn libraries_are_followed_and_nothing_else() {
        let packages: Vec<_> = closure(TREE).unwrap().into_iter().collect();
        let expected = ["libc6", "libcap2", "libgcc-s1", "libsystemd0", "redis-server", "redis-tools"];
        assert_eq!(packages, expected);
    }

    #[test]
    fn without_a_redis_there_is_nothing() {
        assert_eq!(closure(""), None);
        assert_eq!(closure("redis-server\n  Depends: redis-tools\n"), None);
    }

    #[test]
    fn the_hash_is_the_known_one() {
        assert_eq!(fnv(b""), 0x811c_9dc5);
        assert_eq!(fnv(b"a"), 0xe40c_292c);
    }
}
