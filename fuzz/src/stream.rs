//! Bytes as a connection brings them: in pieces.

/// Cuts `bytes` into pieces whose lengths follow from `seed`; zero is all at once.
pub fn pieces(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    // A decoder may look again at all it has for every piece, so that a long input is not cut into crumbs.
    let least = bytes.len() / 512;
    let most = match seed {
        0 => return vec![bytes],
        seed => usize::from(seed % 64) + 1,
    };
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    let mut chance = u32::from(seed) | 0x9E37_79B9 << 8;
    while !rest.is_empty() {
        // Xorshift: any sequence does, as long as the seed decides it.
        chance ^= chance << 13;
        chance ^= chance >> 17;
        chance ^= chance << 5;
        let length = (least + 1 + chance as usize % most).min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
