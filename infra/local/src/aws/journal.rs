//! An append-only file of JSON lines, private to its owner.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::OpenError;

/// Only the owner reads and writes.
const PRIVATE: u32 = 0o600;

/// The file, open for appending. What an [`append`](Self::append) wrote survives the death of the process.
pub(super) struct Journal {
    file: File,
    length: u64,
}

impl Journal {
    /// Opens or creates the journal at `path` and returns the entries that it holds.
    ///
    /// A last line without an end was being written when the process died; nobody was told that it happened, and it
    /// is cut off. Any other line that can't be read is an error.
    pub(super) fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>), OpenError> {
        let failed = |source| OpenError::File { path: path.to_owned(), source };
        let file = private().append(true).create(true).open(path).map_err(failed)?;
        file.set_permissions(Permissions::from_mode(PRIVATE)).map_err(failed)?;
        let mut content = std::fs::read(path).map_err(failed)?;
        content.truncate(content.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        let length = content.len() as u64;
        file.set_len(length).map_err(failed)?;
        let entries = content
            .split_inclusive(|byte| *byte == b'\n')
            .enumerate()
            .map(|(index, line)| {
                let damaged = |_| OpenError::Journal { path: path.to_owned(), line: index + 1 };
                serde_json::from_slice(line).map_err(damaged)
            })
            .collect::<Result<_, _>>()?;
        Ok((Self { file, length }, entries))
    }

    /// Puts a journal with just these entries in the place of the one at `path`, or leaves that untouched.
    pub(super) fn replace<T: Serialize>(path: &Path, entries: &[T]) -> Result<Self, OpenError> {
        let failed = |source| OpenError::File { path: path.to_owned(), source };
        let temporary = PathBuf::from(format!("{}.new", path.display()));
        let content = lines(entries).map_err(failed)?;
        let mut file = private().write(true).create(true).truncate(true).open(&temporary).map_err(failed)?;
        file.write_all(&content).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&temporary, path).map_err(failed)?;
        Ok(Self { file, length: content.len() as u64 })
    }

    /// Adds one entry. When that fails, the file is as it was before.
    pub(super) fn append<T: Serialize>(&mut self, entry: &T) -> io::Result<()> {
        let line = lines(std::slice::from_ref(entry))?;
        if let Err(error) = self.file.write_all(&line) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Waits until the disk has everything, so that it survives a power failure too.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(PRIVATE);
    options
}

fn lines<T: Serialize>(entries: &[T]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut content, entry)?;
        content.push(b'\n');
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(path: &Path) -> Vec<String> {
        Journal::open(path).expect("a whole journal").1
    }

    #[test]
    fn entries_come_back_in_order() {
        let directory = crate::testing::Directory::new();
        let path = directory.path().join("journal");
        let (mut journal, before) = Journal::open::<String>(&path).unwrap();
        assert!(before.is_empty());
        for entry in ["one", "two\nlines", "three"] {
            journal.append(&entry).unwrap();
        }
        assert_eq!(entries(&path), ["one", "two\nlines", "three"]);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
    }

    #[test]
    fn a_torn_last_line_is_cut_off_wherever_it_tore() {
        let directory = crate::testing::Directory::new();
        let whole = b"\"one\"\n\"two\"\n";
        for torn in 6..whole.len() {
            let path = directory.path().join(torn.to_string());
            std::fs::write(&path, &whole[..torn]).unwrap();
            let (mut journal, before) = Journal::open::<String>(&path).unwrap();
            assert_eq!(before, ["one"], "torn at {torn}");
            journal.append(&"three").unwrap();
            assert_eq!(entries(&path), ["one", "three"], "torn at {torn}");
        }
    }

    #[test]
    fn a_damaged_line_elsewhere_is_named() {
        let directory = crate::testing::Directory::new();
        let path = directory.path().join("journal");
        std::fs::write(&path, "\"one\"\n\"tw\n\"three\"\n").unwrap();
        let error = Journal::open::<String>(&path).err().expect("the second line is no JSON");
        assert!(matches!(error, OpenError::Journal { line: 2, .. }), "{error}");
    }

    #[test]
    fn a_replaced_journal_goes_on() {
        let directory = crate::testing::Directory::new();
        let path = directory.path().join("journal");
        Journal::open::<String>(&path).unwrap().0.append(&"old").unwrap();
        let mut journal = Journal::replace(&path, &["new"]).unwrap();
        journal.append(&"newer").unwrap();
        assert_eq!(entries(&path), ["new", "newer"]);
    }
}
