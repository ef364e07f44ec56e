//! Container images without a container engine: one layer, as an archive that `ctr images import`,
//! `kind load image-archive`, `docker load` and `podman load` take. The same files make the same bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Doing, Result};

/// An image, for the machine that it is made on.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name and tag, as pods give it: `localhost/pause:1`.
    pub name: String,
    /// Where each file lies in the image, from its root, and where it is taken from. What may be run stays so.
    pub files: Vec<(String, PathBuf)>,
    /// The program with its first arguments, by paths in the image.
    pub entrypoint: Vec<String>,
    /// Who runs it, by numbers: `65532:65532`. Kubernetes can tell only a number from root.
    pub user: String,
}

impl Image {
    /// Writes the archive, and returns the digest of the image (which `crictl` and `docker` call its id).
    ///
    /// Beside the files and their folders the image has `/etc` and a `/tmp` for everybody.
    ///
    /// # Errors
    ///
    /// When a file can't be read, the archive can't be written, or a path is longer than a tar header holds.
    pub fn archive(&self, to: &Path) -> Result<String> {
        let layer = self.layer()?;
        let layer_digest = digest(&layer);
        let config = self.config(&layer_digest).to_string().into_bytes();
        let image_digest = digest(&config);
        let (config_file, layer_file) =
            (format!("{image_digest}.json"), format!("{layer_digest}.tar"));
        let manifest = json!([
            {"Config": config_file, "RepoTags": [self.name], "Layers": [layer_file]}
        ])
        .to_string();

        // Aside first: a build that is killed leaves no half of an archive.
        let partial = to.with_extension(format!("{}.partial", std::process::id()));
        let write = || -> io::Result<()> {
            let mut out = BufWriter::new(File::create(&partial)?);
            for (path, content) in [
                (&config_file, &config[..]),
                (&layer_file, &layer),
                (&"manifest.json".to_owned(), manifest.as_bytes()),
            ] {
                entry(&mut out, path, FILE, 0o644, content)?;
            }
            end(&mut out)?;
            out.flush()?;
            fs::rename(&partial, to)
        };
        write().doing("writing", to)?;
        Ok(format!("sha256:{image_digest}"))
    }

    /// The one layer: a tar of everything, in the order of the paths.
    fn layer(&self) -> Result<Vec<u8>> {
        let mut entries: BTreeMap<String, (u32, Option<Vec<u8>>)> = BTreeMap::new();
        entries.insert("etc/".into(), (0o755, None));
        for (path, source) in &self.files {
            let path = path.trim_start_matches('/');
            for (at, _) in path.match_indices('/') {
                entries.insert(path[..=at].into(), (0o755, None));
            }
            let runs = fs::metadata(source).doing("reading", source)?.permissions().mode() & 0o111;
            let content = fs::read(source).doing("reading", source)?;
            entries.insert(path.into(), (if runs == 0 { 0o644 } else { 0o755 }, Some(content)));
        }
        entries.insert("tmp/".into(), (0o1777, None));

        let mut layer = Vec::new();
        for (path, (mode, content)) in &entries {
            let (kind, content) = match content {
                Some(content) => (FILE, &content[..]),
                None => (FOLDER, &[][..]),
            };
            entry(&mut layer, path, kind, *mode, content).doing("adding to an image", path)?;
        }
        end(&mut layer).doing("ending", "an image")?;
        Ok(layer)
    }

    /// What the image says of itself, by <https://github.com/opencontainers/image-spec/blob/main/config.md>.
    fn config(&self, layer: &str) -> Value {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        json!({
            "architecture": architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Entrypoint": self.entrypoint,
                "User": self.user,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "catalyst"}],
        })
    }
}

/// The image of one static program, beside it in the cache.
pub(crate) fn archive(name: &str, path: &str, program: &Path) -> Result<PathBuf> {
    let archive = program.with_extension("tar");
    if !archive.exists() {
        let image = Image {
            name: name.into(),
            files: vec![(path.into(), program.to_owned())],
            entrypoint: vec![path.into()],
            // Nobody in particular, as distroless images have it.
            user: "65532:65532".into(),
        };
        image.archive(&archive)?;
    }
    Ok(archive)
}

/// What an entry of a tar is.
const FILE: u8 = b'0';
const FOLDER: u8 = b'5';

/// A tar consists of these.
const BLOCK: usize = 512;

/// One entry, by POSIX.1-1988 (ustar): root's, and of no time.
fn entry(out: &mut dyn Write, path: &str, kind: u8, mode: u32, content: &[u8]) -> io::Result<()> {
    if path.len() > 100 {
        return Err(io::Error::other(format!("{path} is longer than 100 bytes")));
    }
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000"); // user
    put(116, b"0000000"); // group
    put(124, format!("{:011o}", content.len()).as_bytes());
    put(136, b"00000000000"); // time
    put(148, b"        "); // counts as spaces in its own sum
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.write_all(&header)?;
    out.write_all(content)?;
    let rest = content.len().next_multiple_of(BLOCK) - content.len();
    out.write_all(&[0; BLOCK][..rest])
}

/// Two empty blocks end a tar.
fn end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn image() -> Image {
        let this = std::env::current_exe().unwrap();
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        Image {
            name: "localhost/example:1".into(),
            files: vec![("/opt/a/data".into(), text), ("/example".into(), this)],
            entrypoint: vec!["/example".into()],
            user: "65532:65532".into(),
        }
    }

    /// What the system's own tar lists.
    fn listed(archive: &Path) -> Vec<String> {
        let tar = Command::new("tar").arg("-tvf").arg(archive).output().unwrap();
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let text = String::from_utf8(tar.stdout).unwrap();
        let words = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {} {}", words[0], words[1], words[words.len() - 1])
        };
        text.lines().map(words).collect()
    }

    #[test]
    fn the_same_files_make_the_same_archive() {
        let folder = tempfolder("same");
        let (one, two) = (folder.join("one.tar"), folder.join("two.tar"));
        let digest = image().archive(&one).unwrap();
        assert_eq!(digest, image().archive(&two).unwrap());
        assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn tar_reads_it_and_the_digests_are_those_of_what_is_in_it() {
        let folder = tempfolder("read");
        let archive = folder.join("image.tar");
        let digest = image().archive(&archive).unwrap();
        let tar = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&folder).status();
        assert!(tar.unwrap().success());
        let manifest = fs::read(folder.join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!(["localhost/example:1"]));

        let read = |name: &Value| fs::read(folder.join(name.as_str().unwrap())).unwrap();
        let config = read(&manifest[0]["Config"]);
        assert_eq!(digest, format!("sha256:{}", super::digest(&config)));
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["config"]["User"], "65532:65532");
        let layer = super::digest(&read(&manifest[0]["Layers"][0]));
        assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{layer}")]));

        let layer = folder.join(manifest[0]["Layers"][0].as_str().unwrap());
        let entries = [
            "drwxr-xr-x 0/0 etc/",
            "-rwxr-xr-x 0/0 example",
            "drwxr-xr-x 0/0 opt/",
            "drwxr-xr-x 0/0 opt/a/",
            "-rw-r--r-- 0/0 opt/a/data",
            "drwxrwxrwt 0/0 tmp/",
        ];
        assert_eq!(listed(&layer), entries);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let mut image = image();
        image.files[1].1 = "/nowhere/example".into();
        let told = image.archive(&std::env::temp_dir().join("none.tar")).unwrap_err().to_string();
        assert_eq!(told, "reading /nowhere/example");
    }

    fn tempfolder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("image-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }
}
