//! Base58 in Bitcoin's alphabet, for multibase keys (FEP-521a). Keys are 34 bytes, so the
//! quadratic textbook method is fast enough; the input is bounded for the same reason.

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The longest text that is read: an Ed25519 key takes 47 characters.
const MAX_TEXT: usize = 128;

/// The spelling of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    // Digits of the number in base 58, least significant first.
    let mut digits: Vec<u8> = Vec::with_capacity(bytes.len() * 2);
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    // A leading zero byte has no weight in the number and is written as the digit zero.
    digits.extend(bytes.iter().take_while(|&&byte| byte == 0));
    digits
        .iter()
        .rev()
        .map(|&digit| char::from(ALPHABET[usize::from(digit)]))
        .collect()
}

/// The bytes spelled by `text`, or `None` when it is too long or not base58.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for character in text.bytes() {
        let mut carry = ALPHABET.iter().position(|&one| one == character)? as u32;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    let zeros = text.bytes().take_while(|&one| one == ALPHABET[0]).count();
    bytes.extend(std::iter::repeat_n(0, zeros));
    bytes.reverse();
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_spellings() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"Hello World!", "2NEpo7TZRRrLZSi2U"),
            (&[0, 0, 0x28, 0x7f, 0xb4, 0xcd], "11233QC4"),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn what_is_no_base58_is_refused() {
        for text in ["0", "O", "I", "l", "a b", "ä", &"1".repeat(MAX_TEXT + 1)] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
