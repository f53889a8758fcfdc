//! What lies where in this process's memory, and how to read it: `/proc/.../maps` and `/proc/.../mem`.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// What lies where, lowest address first.
#[derive(Debug, Default)]
pub(super) struct Maps(Vec<Mapping>);

#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    range: Range<u64>,
    /// Of its begin in the file.
    offset: u64,
    is_code: bool,
    /// Or a name in brackets, or nothing.
    path: String,
}

impl Maps {
    /// Nothing lies anywhere in a process without `/proc`.
    pub(super) fn read(folder: &str) -> Self {
        Self::parse(&fs::read_to_string(format!("{folder}/maps")).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(Mapping::parse).collect())
    }

    /// Whether the code of a file lies there: of a program or a library, not what was made at run time.
    pub(super) fn is_code(&self, at: u64) -> bool {
        self.find(at).is_some_and(|(_, found)| found.is_code && found.path.starts_with('/'))
    }

    /// Where what lies there ends.
    pub(super) fn end(&self, at: u64) -> Option<u64> {
        self.find(at).map(|(_, found)| found.range.end)
    }

    /// The file that lies there, and the address in it as it was linked, which is what `addr2line` and `objdump` go by.
    pub(super) fn place(&self, at: u64, memory: &Memory) -> String {
        match self.find(at).filter(|(_, found)| !found.path.is_empty()) {
            Some((index, found)) => {
                let linked = match self.moved_by(index, memory) {
                    Some(distance) => at.wrapping_sub(distance),
                    None => at - found.range.start + found.offset,
                };
                format!("{}+{linked:#x}", found.path)
            }
            None => format!("{at:#x}"),
        }
    }

    fn find(&self, at: u64) -> Option<(usize, &Mapping)> {
        let index = self.0.partition_point(|mapping| mapping.range.end <= at);
        self.0.get(index).filter(|found| found.range.contains(&at)).map(|found| (index, found))
    }

    /// How far above the addresses for which it was linked the file lies that this is a part of. Its parts need not lie as far from
    /// each other as in the file, but lie as they were linked.
    fn moved_by(&self, part: usize, memory: &Memory) -> Option<u64> {
        let path = &self.0.get(part)?.path;
        let begins = |mapping: &&Mapping| mapping.offset == 0 && mapping.path == *path;
        let begin = self.0[..=part].iter().rev().find(begins)?.range.start;
        // The ELF header: its class, where the program headers are, how long each is, how many there are.
        let head: [u8; 64] = memory.read(begin)?;
        if !head.starts_with(b"\x7fELF\x02") {
            return None;
        }
        let (table, size, count) =
            (number(&head[32..40]), number(&head[54..56]), number(&head[56..58]));
        (0..count).find_map(|index| {
            // Kind, flags, offset in the file, address.
            let header: [u8; 24] =
                memory.read(begin.wrapping_add(table).wrapping_add(index * size))?;
            let is_first = number(&header[0..4]) == LOAD && number(&header[8..16]) == 0;
            is_first.then(|| begin.wrapping_sub(number(&header[16..24])))
        })
    }
}

impl Mapping {
    /// `start-end permissions offset device inode   path`; the path may hold blanks.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let is_code = words.next()?.contains('x');
        let offset = hex(words.next()?)?;
        let path = words.nth(2).unwrap_or_default().trim_start().to_owned();
        Some(Self { range: hex(start)?..hex(end)?, offset, is_code, path })
    }
}

/// The process's memory, to be read at any address: what is not there is an error.
#[derive(Debug)]
pub(super) struct Memory(File);

impl Memory {
    pub(super) fn open(folder: &str) -> io::Result<Self> {
        File::open(format!("{folder}/mem")).map(Self)
    }

    /// So many bytes, all of them.
    pub(super) fn read<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }

    /// As many as are there and there is room for.
    pub(super) fn read_to(&self, at: u64, bytes: &mut [u8]) -> usize {
        self.0.read_at(bytes, at).unwrap_or(0)
    }
}

fn hex(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

/// Of up to eight bytes, in the order of both machines that we know.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The kind of a part that is loaded, `PT_LOAD`.
const LOAD: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
        1000-3000 r--p 00000000 08:01 12                         /a program (deleted)\n\
        3000-4000 r-xp 00002000 08:01 12                         /a program (deleted)\n\
        5000-6000 r-xp 00000000 00:00 0 \n\
        7000-8000 rw-p 00000000 00:00 0                          [stack]\n";

    #[test]
    fn a_line_of_maps_is_read_with_blanks_in_the_path_and_without_a_path() {
        let Maps(all) = Maps::parse(TEXT);
        assert_eq!(all.len(), 4);
        let path = "/a program (deleted)".to_owned();
        assert_eq!(all[1], Mapping { range: 0x3000..0x4000, offset: 0x2000, is_code: true, path });
        assert_eq!(all[2].path, "");
    }

    #[test]
    fn an_address_is_found_in_what_lies_there_and_nowhere_else() {
        let maps = Maps::parse(TEXT);
        assert!(maps.is_code(0x3000) && maps.is_code(0x3fff));
        assert!(!maps.is_code(0x2fff) && !maps.is_code(0x4000) && !maps.is_code(0));
        assert!(!maps.is_code(0x5000), "of no file");
        assert_eq!((maps.end(0x7000), maps.end(0x8000)), (Some(0x8000), None));
    }

    /// What else is there to compare with: the names that the linker gave to the begin and the end of the program.
    #[test]
    fn an_address_is_told_as_it_was_linked() {
        let memory = Memory::open("/proc/self").unwrap();
        let maps = Maps::read("/proc/self");
        let function = number as fn(&[u8]) -> u64 as usize as u64;
        let program = fs::read_link("/proc/self/exe").unwrap();
        let begin = maps.0.iter().find(|mapping| *mapping.path == *program).unwrap().range.start;
        // Programs are linked for address zero, and moved; the tests are no other.
        let place = format!("{}+{:#x}", program.display(), function - begin);
        assert_eq!(maps.place(function, &memory), place);
        assert_eq!(maps.place(16, &memory), "0x10");
    }
}
