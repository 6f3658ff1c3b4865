//! `md5(text)`, which BI tools make keys with. Written here because the engine's own comes with four libraries of digests.
//!
//! It protects nothing: who knows what is likely finds it again.

use std::sync::Arc;

use arrow::{
    array::{AsArray, StringArray},
    datatypes::DataType,
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

/// 2³² × |sin(n)|, for n from 1.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// How far each step of a round turns, again and again.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The function.
pub(super) fn md5() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Md5 { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Md5 {
    signature: Signature,
}

impl ScalarUDFImpl for Md5 {
    fn name(&self) -> &'static str {
        "md5"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [kind] if kind.is_string() || kind.is_null() => Ok(vec![DataType::Utf8]),
            _ => plan_err!("md5() takes a text"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text] = args.args.as_slice() else { return exec_err!("md5() takes a text") };
        let texts = text.to_array(1)?;
        let digests: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(digest)).collect();
        Ok(match text {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&digests, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(Arc::new(digests)),
        })
    }
}

/// The digest of a text, in hexadecimal.
fn digest(text: &str) -> String {
    let mut padded = text.as_bytes().to_vec();
    padded.push(0x80);
    // The number of bits stands in the last eight bytes of a block.
    let with_bits = (padded.len() + 8).next_multiple_of(64);
    padded.resize(with_bits - 8, 0);
    let bits = (text.len() as u64).wrapping_mul(8);
    padded.extend_from_slice(&bits.to_le_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    padded.chunks_exact(64).for_each(|block| mix(&mut state, block));
    state.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect()
}

/// Mixes a block of 64 bytes into the state.
fn mix(state: &mut [u32; 4], block: &[u8]) {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
    let words: Vec<u32> = block.chunks_exact(4).map(word).collect();
    let [mut a, mut b, mut c, mut d] = *state;
    for (step, sine) in SINES.iter().enumerate() {
        let round = step / 16;
        let (mixed, at) = match round {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        let turn = TURNS.get(round).and_then(|turns| turns.get(step % 4)).copied().unwrap_or(0);
        let word = words.get(at % 16).copied().unwrap_or(0);
        let sum = a.wrapping_add(mixed).wrapping_add(*sine).wrapping_add(word);
        (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(turn)));
    }
    for (word, mixed) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(mixed);
    }
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn digests_are_those_of_rfc_1321() {
        let long = "1234567890".repeat(8);
        for (text, wanted) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (long.as_str(), "57edf4a22be3c955ac49da2e2107b67a"),
            (&long[..55], "c9ccf168914a1bcfc3229f1948e67da0"),
            (&long[..56], "49f193adce178490e34d1b3a4ec0064c"),
            (&long[..64], "eb6c4179c0a7c82cc2828c1e6338e165"),
        ] {
            assert_eq!(digest(text), wanted, "{text}");
        }
    }
}
