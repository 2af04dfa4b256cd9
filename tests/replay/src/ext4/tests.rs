//! The reader beside e2fsprogs.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::disk::Recording;

const SIZE: u64 = 64 << 20;

fn run(program: &str, arguments: &[&str], file: &Path, allowed: &[i32]) -> String {
    let output = Command::new(program).args(arguments).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| allowed.contains(&code)), "{program}: {said}");
    said
}

/// A file system with some files, 4 KiB blocks and a journal.
fn made(folder: &Path) -> std::path::PathBuf {
    let (tree, file) = (folder.join("tree"), folder.join("disk"));
    std::fs::create_dir_all(tree.join("many")).unwrap();
    for number in 0..400 {
        std::fs::write(tree.join(format!("many/{number:0100}")), format!("{number}")).unwrap();
    }
    std::fs::write(tree.join("large"), (0..3_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>()).unwrap();
    std::os::unix::fs::symlink("short", tree.join("short")).unwrap();
    std::os::unix::fs::symlink("x".repeat(100), tree.join("long")).unwrap();
    std::fs::File::create(&file).unwrap().set_len(SIZE).unwrap();
    let tree = tree.display().to_string();
    run(
        "mke2fs",
        &["-q", "-F", "-t", "ext4", "-b", "4096", "-O", "verity,metadata_csum,64bit", "-d", &tree],
        &file,
        &[0],
    );
    file
}

fn opened(file: &Path) -> Recording {
    Recording::without_requests(file).unwrap()
}

#[test]
fn files_are_those_that_were_put_in() {
    let folder = tempfile::tempdir().unwrap();
    let recording = opened(&made(folder.path()));
    let mut memory = Memory::default();
    let fs = Ext4::mount(recording.view(&[]), 0, SIZE, &mut memory).unwrap();
    let large = fs.find("large", &mut memory).unwrap().unwrap();
    assert_eq!(fs.content(&large).unwrap(), std::fs::read(folder.path().join("tree/large")).unwrap());
    let many = fs.find("many", &mut memory).unwrap().unwrap();
    assert_eq!(fs.directory(&many, &mut memory).unwrap().len(), 402);
    let one = fs.find(&format!("many/{:0100}", 399), &mut memory).unwrap().unwrap();
    assert_eq!(fs.content(&one).unwrap(), b"399");
    for (name, to) in [("short", "short".to_owned()), ("long", "x".repeat(100))] {
        let link = fs.find(name, &mut memory).unwrap().unwrap();
        assert_eq!(fs.link(&link).unwrap(), to.as_bytes());
    }
    assert!(fs.find("absent/file", &mut memory).unwrap().is_none());
    assert!(!large.sealed);
}

#[test]
fn every_damaged_block_of_a_directory_or_inode_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let file = made(folder.path());
    let recording = opened(&file);
    let mut memory = Memory::default();
    let fs = Ext4::mount(recording.view(&[]), 0, SIZE, &mut memory).unwrap();
    let many = fs.find("many", &mut memory).unwrap().unwrap();
    let extents = fs.extents(&many).unwrap();
    let [first, last] = [extents[0], extents[extents.len() - 1]].map(|extent| extent.physical.unwrap());
    let table = fs.tables[0];
    for at in [first * 4096 + 100, last * 4096 + 9, table * 4096 + 256 + 5, 1024 + 0x100, 4096 + 9] {
        let mut bytes = recording.view(&[]).block(at / 4096).unwrap().to_vec();
        bytes[usize::try_from(at % 4096).unwrap()] ^= 0x55;
        let layer = Layer::from_iter([(at / 4096, Block::of(bytes.into()))]);
        let layers = [&layer];
        let outcome = Ext4::mount(recording.view(&layers), 0, SIZE, &mut memory).and_then(|fs| {
            let many = fs.find("many", &mut memory)?.ok_or_else(|| Fault::disk("gone"))?;
            fs.directory(&many, &mut memory).map(drop)
        });
        assert!(matches!(outcome, Err(Fault::Disk(_) | Fault::Superblock)), "byte {at}");
    }
}

/// Writes transactions with debugfs, which leaves them to be replayed.
#[test]
fn a_journal_is_replayed_as_e2fsck_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = made(folder.path());
    let blocks = folder.path().join("blocks");
    // The second begins as the journal's own blocks do, so that its copy there is altered.
    let mut content = vec![0x11_u8; 4096 * 3];
    content[4096..4100].copy_from_slice(&0xc03b_3998_u32.to_be_bytes());
    std::fs::write(&blocks, &content).unwrap();
    let commands = folder.path().join("commands");
    let blocks = blocks.display();
    std::fs::write(
        &commands,
        format!(
            "jo -c\njw -b 9000-9002 {blocks}\njw -b 9010-9012 {blocks}\njw -r 9010-9011\njw -b 9020-9022 {blocks}\n\
             jw -r 9001\njw -b 9001 {blocks}\njc\n"
        ),
    )
    .unwrap();
    let commands = commands.display().to_string();
    run("debugfs", &["-w", "-f", &commands], &file, &[0]);
    let recording = opened(&file);
    let mut memory = Memory::default();
    let fs = Ext4::mount(recording.view(&[]), 0, SIZE, &mut memory).unwrap();
    let ours: Vec<_> = (8990..9030).map(|number| fs.block(number).unwrap()).collect();
    assert!(!fs.replayed.is_empty(), "nothing was to be replayed");

    let replayed = folder.path().join("replayed");
    std::fs::copy(&file, &replayed).unwrap();
    run("e2fsck", &["-p", "-E", "journal_only"], &replayed, &[0, 1]);
    let theirs = opened(&replayed);
    for (number, ours) in (8990..9030).zip(ours) {
        assert_eq!(*ours, *theirs.view(&[]).block(number).unwrap(), "block {number}");
    }

    // A transaction without its commit block never was.
    let last = (0..SIZE / 4096)
        .filter(|number| {
            let block = recording.view(&[]).block(*number).unwrap();
            crate::bytes::be32(&block, 0) == 0xc03b_3998 && crate::bytes::be32(&block, 4) == 2
        })
        .max()
        .unwrap();
    let layer = Layer::from_iter([(last, Block::of(vec![0; 4096].into()))]);
    let layers = [&layer];
    let before = Ext4::mount(recording.view(&layers), 0, SIZE, &mut memory).unwrap();
    assert!(before.replayed.len() < fs.replayed.len());
}

/// Its checksum right, any number may stand anywhere: the answer is content or a fault.
#[test]
fn no_number_in_a_superblock_or_an_inode_ends_in_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let recording = opened(&made(folder.path()));
    let mut memory = Memory::default();
    let fs = Ext4::mount(recording.view(&[]), 0, SIZE, &mut memory).unwrap();
    let large = fs.find("large", &mut memory).unwrap().unwrap().number;
    let (table, bytes) = (fs.tables[0], fs.inode_bytes);
    let places = [ROOT, large, 8].map(|number| (number, u64::from(number - 1) * bytes as u64));
    let read = |layer: &Layer, memory: &mut Memory| {
        let layers = [layer];
        let outcome = Ext4::mount(recording.view(&layers), 0, SIZE, memory).and_then(|fs| {
            let inode = fs.find("large", memory)?.ok_or_else(|| Fault::disk("gone"))?;
            fs.name_of(&inode)?;
            let content = fs.content(&inode)?;
            // What any content at all would be compared with.
            drop(crate::verity::Seal::of(&content[..content.len().min(5000)]).check(&fs, &inode));
            Ok(())
        });
        assert!(!matches!(outcome, Err(Fault::Host(_))));
    };
    for value in [0, 1, 0x7fff, 0xffff_ffff_u32] {
        for at in (0..0x3fc).step_by(4) {
            let mut block = recording.view(&[]).block(0).unwrap().to_vec();
            block[1024 + at..1024 + at + 4].copy_from_slice(&value.to_le_bytes());
            let sum = crc32c(!0, &block[1024..1024 + 0x3fc]);
            block[1024 + 0x3fc..2048].copy_from_slice(&sum.to_le_bytes());
            read(&Layer::from_iter([(0, Block::of(block.into()))]), &mut memory);
        }
        for ((number, from), at) in places.into_iter().flat_map(|place| (0..128).step_by(2).map(move |at| (place, at)))
        {
            let home = table + from / 4096;
            let from = usize::try_from(from % 4096).unwrap();
            let mut block = recording.view(&[]).block(home).unwrap().to_vec();
            let inode = &mut block[from..from + bytes];
            inode[at..at + 4].copy_from_slice(&value.to_le_bytes());
            inode[0x7c..0x7e].fill(0);
            inode[0x82..0x84].fill(0);
            let seed = crc32c(crc32c(fs.seed, &number.to_le_bytes()), &inode[0x64..0x68]);
            let sum = crc32c(seed, inode).to_le_bytes();
            inode[0x7c..0x7e].copy_from_slice(&sum[..2]);
            inode[0x82..0x84].copy_from_slice(&sum[2..]);
            read(&Layer::from_iter([(home, Block::of(block.into()))]), &mut memory);
        }
    }
}
