//! The encodings that the pages of a segment are in, undone many values at a time.
//!
//! They are given bytes whose checksum was right, but may be made up all the same: nothing in them makes
//! these panic, or gives more values than were asked for.

use super::decode::Fault;

/// Unpacks numbers of so many bits each, that lie end to end, lowest bits first.
fn unpack(bytes: &[u8], width: u32, count: usize) -> Result<impl Iterator<Item = u64>, Fault> {
    if width > 64 || (bytes.len() as u64).saturating_mul(8) < u64::from(width) * count as u64 {
        return Err("packed numbers end too early".into());
    }
    let (width, mask) = (width as usize, u64::MAX.checked_shr(64 - width).unwrap_or(0));
    Ok((0..count).map(move |n| {
        let (byte, bit) = (n * width / 8, n * width % 8);
        let rest = bytes.get(byte..).unwrap_or_default();
        let number = match rest.first_chunk::<8>() {
            Some(eight) if bit + width <= 64 => u64::from_le_bytes(*eight) >> bit,
            // At the end, or a number that lies across nine bytes.
            _ => {
                let mut wide = [0; 16];
                let there = rest.len().min(16);
                wide[..there].copy_from_slice(&rest[..there]);
                (u128::from_le_bytes(wide) >> bit) as u64
            }
        };
        number & mask
    }))
}

/// Undoes runs and packed groups of numbers (RLE/bit-packing hybrid) of at most 32 bits each, and adds so
/// many to `out`.
pub(super) fn runs(
    mut bytes: &[u8],
    width: u32,
    count: usize,
    out: &mut Vec<u32>,
) -> Result<(), Fault> {
    if width > 32 {
        return Err("its numbers are wider than any are".into());
    }
    let end = out.len() + count;
    out.reserve(count);
    while out.len() < end {
        let head = varint(&mut bytes)?;
        let (left, times) = (end - out.len(), usize::try_from(head >> 1).unwrap_or(usize::MAX));
        if head & 1 == 0 {
            let (value, rest) =
                bytes.split_at_checked(width.div_ceil(8) as usize).ok_or("a run ends too early")?;
            bytes = rest;
            let value = value.iter().rev().fold(0, |n, byte| n << 8 | u32::from(*byte));
            out.resize(out.len() + times.min(left), value);
        } else {
            // Groups of eight; the last may be filled up.
            let len = times.saturating_mul(width as usize).min(bytes.len());
            let (packed, rest) = bytes.split_at(len);
            bytes = rest;
            let there = times.saturating_mul(8).min(left);
            out.extend(unpack(packed, width, there)?.map(|number| number as u32));
        }
    }
    Ok(())
}

/// Undoes DELTA_BINARY_PACKED, of which there have to be so many, and adds them to `out`.
pub(super) fn deltas(mut bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), Fault> {
    /// Numbers that are packed together; 64 in what is written here.
    const TOGETHER_MAX: u64 = 1 << 16;
    let block = varint(&mut bytes)?;
    let parts = varint(&mut bytes)?;
    let total = varint(&mut bytes)?;
    let mut last = zigzag(varint(&mut bytes)?);
    if total != count as u64 {
        return Err("a page holds other than as many numbers as it says".into());
    }
    let together = block.checked_div(parts).unwrap_or(0);
    if !(8..=TOGETHER_MAX).contains(&together) || together % 8 != 0 || together * parts != block {
        return Err("its numbers are packed as none are".into());
    }
    let together = together as usize;
    if count == 0 {
        return Ok(());
    }
    out.reserve(count);
    out.push(last);
    let mut left = count - 1;
    while left > 0 {
        let least = zigzag(varint(&mut bytes)?);
        let (widths, rest) =
            bytes.split_at_checked(parts as usize).ok_or("packed numbers end too early")?;
        bytes = rest;
        for width in widths.iter().map(|width| u32::from(*width)) {
            if left == 0 {
                break;
            }
            let there = left.min(together);
            let len = together.saturating_mul(width as usize) / 8;
            let (packed, rest) = bytes.split_at(len.min(bytes.len()));
            bytes = rest;
            out.extend(unpack(packed, width, there)?.map(|delta| {
                last = last.wrapping_add(least).wrapping_add(delta as i64);
                last
            }));
            left -= there;
        }
    }
    Ok(())
}

/// Gives each text of a PLAIN page, which has to hold so many.
pub(super) fn texts<'b>(
    bytes: &'b [u8],
    count: usize,
    mut visit: impl FnMut(&'b [u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut at = 0;
    for _ in 0..count {
        visit(text_at(bytes, &mut at).ok_or("a text ends outside of its page")?)?;
    }
    Ok(())
}

/// The text that lies there in a PLAIN page, if the whole of it does; goes on behind it.
pub(super) fn text_at<'b>(bytes: &'b [u8], at: &mut usize) -> Option<&'b [u8]> {
    let (len, rest) = bytes.get(*at..)?.split_first_chunk::<4>()?;
    let text = rest.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    *at += 4 + text.len();
    Some(text)
}

/// LEB128.
fn varint(bytes: &mut &[u8]) -> Result<u64, Fault> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or("a number ends too early")?;
        *bytes = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(n);
        }
    }
    Err("a number is longer than any is".into())
}

fn zigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::segment::writer::{Held, column as put};
    use parquet::basic::Encoding;
    use parquet::column::page::Page;
    use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// The pages of one column as parquet writes it.
    fn pages<T: DataType>(
        column: &str,
        encoding: Option<Encoding>,
        values: &[T::T],
        levels: Option<&[i16]>,
    ) -> Vec<Page> {
        let schema = parse_message_type(&format!("message m {{ {column}; }}")).expect("a schema");
        let mut properties = WriterProperties::builder().set_dictionary_enabled(encoding.is_none());
        if let Some(encoding) = encoding {
            properties = properties.set_encoding(encoding);
        }
        let (schema, properties) = (Arc::new(schema), Arc::new(properties.build()));
        let file = SerializedFileWriter::new(Held::default(), schema, properties);
        let mut file = file.expect("a file");
        let mut group = file.next_row_group().expect("a row group");
        put::<T>(&mut group, values, levels).expect("it is written");
        group.close().expect("it is written");
        let bytes = file.into_inner().expect("memory takes it").0;
        let file = SerializedFileReader::new(bytes::Bytes::from(bytes)).expect("a file");
        let group = file.get_row_group(0).expect("a row group");
        let mut reader = group.get_column_page_reader(0).expect("a column");
        std::iter::from_fn(|| reader.get_next_page().expect("a page")).collect()
    }

    fn data(pages: &[Page]) -> Vec<(&[u8], usize)> {
        let data = |page: &Page| matches!(page, Page::DataPage { .. });
        pages
            .iter()
            .filter(|page| data(page))
            .map(|page| match page {
                Page::DataPage { buf, num_values, .. } => (&buf[..], *num_values as usize),
                _ => unreachable!(),
            })
            .collect()
    }

    fn numbers() -> impl Strategy<Value = Vec<i64>> {
        let steps = prop_oneof![
            Just(1_i64..2),
            Just(-3_i64..900),
            Just(-5_000_000_000_i64..5_000_000_000),
            Just(i64::MIN..i64::MAX),
        ];
        steps.prop_flat_map(|steps| prop::collection::vec(steps, 1..700)).prop_map(|steps| {
            steps
                .into_iter()
                .scan(0_i64, |at, step| {
                    *at = at.wrapping_add(step);
                    Some(*at)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn deltas_are_those_that_parquet_writes(numbers in numbers()) {
            let encoding = Some(Encoding::DELTA_BINARY_PACKED);
            let pages = pages::<Int64Type>("required int64 n", encoding, &numbers, None);
            let mut found = Vec::new();
            for (bytes, count) in data(&pages) {
                deltas(bytes, count, &mut found).expect("what parquet wrote");
            }
            prop_assert_eq!(found, numbers);
        }

        #[test]
        fn runs_are_those_that_parquet_writes(
            words in prop::collection::vec((0..40_u32, 1..30_usize), 1..60),
            distinct in 1..41_u32,
            nulls: u64,
        ) {
            let words: Vec<u32> = words
                .into_iter()
                .flat_map(|(word, times)| std::iter::repeat_n(word % distinct, times))
                .collect();
            let there = |n: &usize| nulls >> (n / 7 % 64) & 1 == 0;
            let levels: Vec<i16> = (0..words.len()).map(|n| there(&n).into()).collect();
            let values: Vec<ByteArray> = words
                .iter()
                .enumerate()
                .filter(|(n, _)| there(n))
                .map(|(_, word)| ByteArray::from(format!("word {word}").into_bytes()))
                .collect();
            let column = "optional binary w (UTF8)";
            let pages = pages::<ByteArrayType>(column, None, &values, Some(&levels));
            let mut dictionary = Vec::new();
            if let Some(Page::DictionaryPage { buf, num_values, .. }) = pages.first() {
                texts(buf, *num_values as usize, |text| {
                    dictionary.push(text.to_vec());
                    Ok(())
                })
                .expect("what parquet wrote");
            }
            let (mut found_levels, mut found) = (Vec::new(), Vec::new());
            for (bytes, count) in data(&pages) {
                let (len, rest) = bytes.split_first_chunk::<4>().expect("levels");
                let (levels, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
                let from = found_levels.len();
                runs(levels, 1, count, &mut found_levels).expect("what parquet wrote");
                let there = found_levels[from..].iter().filter(|level| **level == 1).count();
                if there > 0 {
                    runs(&rest[1..], rest[0].into(), there, &mut found)
                        .expect("what parquet wrote");
                }
            }
            let found: Vec<&[u8]> = found.iter().map(|n| &dictionary[*n as usize][..]).collect();
            let values: Vec<&[u8]> = values.iter().map(ByteArray::data).collect();
            prop_assert_eq!(found, values);
            prop_assert!(found_levels.iter().map(|level| *level as i16).eq(levels));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, width in 0..70_u32, count in 0..300_usize) {
            let (mut some, mut more) = (Vec::new(), Vec::new());
            let _ = runs(&bytes, width, count, &mut some);
            let _ = deltas(&bytes, count, &mut more);
            prop_assert!(some.len() <= count && more.len() <= count);
            let _ = texts(&bytes, count, |_| Ok(()));
            let mut block = vec![0x80, 1, 4, count as u8 & 0x7f, 2];
            block.extend_from_slice(&bytes);
            let _ = deltas(&block, count & 0x7f, &mut more);
        }
    }
}
