//! kmod's binary indexes: `modules.dep.bin` and its like.
//!
//! Reads and writes the format of kmod's `libkmod-index.h` (magic 0xB007F457, version 2.1): a radix tree, each node
//! written before its children, integers big-endian, a node's reference carrying in its upper bits what the node has.
//! Reading depmod's index and writing it again gives the same bytes, so that leaving modules out needs no depmod.

const MAGIC: u32 = 0xB007_F457;
const VERSION: u32 = 0x0002_0001;
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;
const OFFSET: u32 = 0x0FFF_FFFF;
/// Keys are ASCII.
const CHILDREN: u8 = 128;
/// Longest key, which bounds the depth of a tree that is read.
const KEY_BYTES: usize = 4096;
/// Most values of an index that is read.
const VALUES: usize = 1 << 20;

/// One value of a key; several of one key are in order of their priorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) key: Vec<u8>,
    pub(crate) priority: u32,
    pub(crate) text: Vec<u8>,
}

/// Reads all values of an index, in order of their keys.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Value>, &'static str> {
    let mut reader = Reader { bytes, found: Vec::new() };
    if reader.u32_at(0)? != MAGIC || reader.u32_at(4)? != VERSION {
        return Err("it is not an index of kmod 2.1");
    }
    let root = reader.u32_at(8)?;
    if root & OFFSET != 0 {
        reader.node(root, Vec::new())?;
    }
    Ok(reader.found)
}

struct Reader<'a> {
    bytes: &'a [u8],
    found: Vec<Value>,
}

const SHORT: &str = "the index is cut short";

impl<'a> Reader<'a> {
    fn u32_at(&self, at: usize) -> Result<u32, &'static str> {
        let found = at.checked_add(4).and_then(|end| self.bytes.get(at..end)).ok_or(SHORT)?;
        Ok(u32::from_be_bytes([found[0], found[1], found[2], found[3]]))
    }

    fn string_at(&self, at: usize) -> Result<&'a [u8], &'static str> {
        let rest = self.bytes.get(at..).ok_or(SHORT)?;
        let end = rest.iter().position(|byte| *byte == 0).ok_or(SHORT)?;
        Ok(&rest[..end])
    }

    fn node(&mut self, reference: u32, mut key: Vec<u8>) -> Result<(), &'static str> {
        let mut at = (reference & OFFSET) as usize;
        if reference & HAS_PREFIX != 0 {
            let prefix = self.string_at(at)?;
            key.extend_from_slice(prefix);
            at += prefix.len() + 1;
        }
        if key.len() > KEY_BYTES {
            return Err("the index has a key that is too long");
        }
        let mut children = Vec::new();
        if reference & HAS_CHILDREN != 0 {
            let &[first, last] = self.bytes.get(at..at + 2).ok_or(SHORT)? else {
                return Err(SHORT);
            };
            at += 2;
            if first > last || last >= CHILDREN {
                return Err("a node of the index has impossible children");
            }
            for character in first..=last {
                children.push((character, self.u32_at(at)?));
                at += 4;
            }
        }
        if reference & HAS_VALUES != 0 {
            let count = self.u32_at(at)? as usize;
            at += 4;
            for _ in 0..count {
                let priority = self.u32_at(at)?;
                let text = self.string_at(at + 4)?;
                at += 4 + text.len() + 1;
                if self.found.len() >= VALUES {
                    return Err("the index has too many values");
                }
                self.found.push(Value { key: key.clone(), priority, text: text.to_vec() });
            }
        }
        for (character, child) in children {
            if child & OFFSET != 0 {
                let mut key = key.clone();
                key.push(character);
                self.node(child, key)?;
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Node<'a> {
    prefix: &'a [u8],
    children: Vec<(u8, Node<'a>)>,
    values: Vec<&'a Value>,
}

impl<'a> Node<'a> {
    /// Makes the tree of `values`, which are sorted by key and all begin with the same `skip` bytes.
    fn new(values: &'a [Value], skip: usize) -> Self {
        let Some((first, last)) = values.first().zip(values.last()) else {
            return Self::default();
        };
        // Sorted: what the first and the last share, all share.
        let shared = first.key[skip..].iter().zip(&last.key[skip..]).take_while(|(a, b)| a == b).count();
        // depmod gives the topmost node no prefix.
        let end = if skip == 0 { 0 } else { skip + shared };
        let own = values.iter().take_while(|value| value.key.len() == end).count();
        let children = values[own..]
            .chunk_by(|a, b| a.key[end] == b.key[end])
            .map(|same| (same[0].key[end], Self::new(same, end + 1)))
            .collect();
        Self { prefix: &first.key[skip..end], children, values: values[..own].iter().collect() }
    }

    /// Writes the node and, behind it, its children.
    fn write(&self, out: &mut Vec<u8>) -> u32 {
        let mut reference = to_u32(out.len());
        if !self.prefix.is_empty() {
            out.extend_from_slice(self.prefix);
            out.push(0);
            reference |= HAS_PREFIX;
        }
        let mut table = 0;
        let mut lowest = 0;
        if let Some(((first, _), (last, _))) = self.children.first().zip(self.children.last()) {
            out.extend([*first, *last]);
            (table, lowest) = (out.len(), *first);
            out.resize(table + 4 * (usize::from(last - first) + 1), 0);
            reference |= HAS_CHILDREN;
        }
        if !self.values.is_empty() {
            out.extend(to_u32(self.values.len()).to_be_bytes());
            for value in &self.values {
                out.extend(value.priority.to_be_bytes());
                out.extend_from_slice(&value.text);
                out.push(0);
            }
            reference |= HAS_VALUES;
        }
        for (character, child) in &self.children {
            let at = table + 4 * usize::from(character - lowest);
            let written = child.write(out);
            out[at..at + 4].copy_from_slice(&written.to_be_bytes());
        }
        reference
    }
}

fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Writes an index. Values of one key keep their order.
///
/// # Errors
/// When a key is no ASCII text, or the index passes what 28 bits can address.
pub(crate) fn write(mut values: Vec<Value>) -> Result<Vec<u8>, &'static str> {
    if values.iter().any(|value| !value.key.is_ascii() || value.key.len() > KEY_BYTES) {
        return Err("a key of the index is not ASCII text");
    }
    values.sort_by(|a, b| a.key.cmp(&b.key));
    let mut out = Vec::new();
    for word in [MAGIC, VERSION, 0] {
        out.extend(word.to_be_bytes());
    }
    let root = Node::new(&values, 0).write(&mut out);
    if out.len() > OFFSET as usize {
        return Err("the index is too large");
    }
    out[8..12].copy_from_slice(&root.to_be_bytes());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(key: &str, priority: u32, text: &str) -> Value {
        Value { key: key.into(), priority, text: text.into() }
    }

    /// modules.builtin.bin as depmod 34 writes it for the five modules of the example in libkmod-index.h.
    const DEPMOD: &str = "b007f457000200012000000c616f2000004a000000000000000000000000000000000000000000000000000000000000\
        00000000000000000000000000000000000000000000e000006a7374c0000054c000005f6b0000000001000000000065\
        000000000100000000006e006365c0000083000000004000008e00000001000000000065000000000100000000000000\
        00010000000000";

    #[test]
    fn gives_back_what_depmod_wrote() {
        let bytes: Vec<u8> =
            (0..DEPMOD.len()).step_by(2).map(|at| u8::from_str_radix(&DEPMOD[at..at + 2], 16).unwrap()).collect();
        let values = read(&bytes).unwrap();
        let keys: Vec<_> = values.iter().map(|value| str::from_utf8(&value.key).unwrap()).collect();
        assert_eq!(keys, ["ask", "ate", "on", "once", "one"]);
        assert_eq!(write(values).unwrap(), bytes);
    }

    #[test]
    fn reads_what_it_writes() {
        let values = ["ask", "ate", "on", "once", "one"].map(|key| value(key, 1, "v"));
        let written = write(values.to_vec()).unwrap();
        assert_eq!(&written[..8], &[0xb0, 0x07, 0xf4, 0x57, 0, 2, 0, 1]);
        assert_eq!(&written[12..14], b"ao");
        assert_eq!(read(&written).unwrap(), values);
    }

    #[test]
    fn keeps_the_order_of_one_keys_values() {
        let values = vec![value("a*", 2, "y"), value("a*", 2, "x"), value("a*", 9, "z"), value("", 0, "empty")];
        let found = read(&write(values).unwrap()).unwrap();
        assert_eq!(found[0], value("", 0, "empty"));
        assert_eq!(
            found.iter().map(|value| value.text.as_slice()).collect::<Vec<_>>(),
            [&b"empty"[..], b"y", b"x", b"z"]
        );
        assert!(read(&write(Vec::new()).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn survives_damage() {
        let whole = write(["ask", "ate", "on"].map(|key| value(key, 1, "v")).to_vec()).unwrap();
        for length in 0..whole.len() {
            let _ = read(&whole[..length]);
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x60, 0xff] {
                let mut altered = whole.clone();
                altered[at] = byte;
                let _ = read(&altered);
            }
        }
    }
}
