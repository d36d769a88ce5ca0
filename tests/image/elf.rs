//! As much of ELF as says how a program is linked.

const INTERPRETER: u32 = 3;
const SHARED_OBJECT: u16 = 3;

/// What the program headers of a 64-bit little-endian ELF file say.
pub struct ProgramHeaders {
    /// It names a loader, which finds its libraries.
    pub interpreter: bool,
    /// It can be loaded at any address, which address space randomization needs.
    pub position_independent: bool,
}

impl ProgramHeaders {
    /// `None` where it is no such file.
    pub fn read(file: &[u8]) -> Option<Self> {
        // Magic, then class 2 (64 bits) and data 1 (little-endian).
        if file.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let start = usize::try_from(u64::from_le_bytes(file.get(32..40)?.try_into().ok()?)).ok()?;
        let size = usize::from(short(file, 54)?);
        let count = usize::from(short(file, 56)?);
        let kinds: Vec<_> = (0..count)
            .map(|number| {
                let at = start + number * size;
                Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?))
            })
            .collect::<Option<_>>()?;
        let position_independent = short(file, 16)? == SHARED_OBJECT;
        Some(Self { interpreter: kinds.contains(&INTERPRETER), position_independent })
    }
}

fn short(file: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?))
}

#[test]
fn a_program_that_needs_a_loader_is_distinguished() {
    // This very test is linked the usual way.
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(ProgramHeaders::read(&own).unwrap().interpreter);
    assert!(ProgramHeaders::read(b"#!/bin/sh").is_none());
}
