//! Makes content that nobody has seen before, so that none is gained by what is alike.

/// Bytes that do not compress and are nowhere else: `SplitMix64`.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95);
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    });
    words.take(length.div_ceil(8)).flat_map(u64::to_le_bytes).take(length).collect()
}

/// Bytes of a page: as many as one block of most file systems has.
pub(super) const PAGE: usize = 4096;

/// What pages are made of. There are 64, so that each takes six bits of noise.
const WORDS: [&str; 64] = [
    "<p>",
    "</p>\n",
    "<li>",
    "</li>\n",
    "<div class=\"row\">",
    "</div>\n",
    "<h2>",
    "</h2>\n",
    "<td>",
    "</td>",
    "<tr>",
    "</tr>\n",
    "<a href=\"/news/\">",
    "</a> ",
    "<em>",
    "</em> ",
    "the ",
    "of ",
    "and ",
    "to ",
    "in ",
    "a ",
    "is ",
    "for ",
    "server ",
    "servers ",
    "page ",
    "pages ",
    "file ",
    "files ",
    "change ",
    "changes ",
    "kernel ",
    "event ",
    "events ",
    "target ",
    "source ",
    "network ",
    "latency ",
    "seconds ",
    "milliseconds ",
    "read ",
    "written ",
    "moved ",
    "new ",
    "old ",
    "first ",
    "last ",
    "every ",
    "none ",
    "today ",
    "yesterday ",
    "weather ",
    "news ",
    "prices ",
    "orders ",
    "customer ",
    "account ",
    "basket ",
    "search ",
    "about ",
    "contact ",
    "privacy ",
    "imprint ",
];

/// A page as web servers have many: no two are the same, and each compresses as text does.
pub(super) fn page(number: u64) -> Vec<u8> {
    let words = noise(number, PAGE).into_iter().map(|byte| WORDS[usize::from(byte % 64)]);
    words.flat_map(str::bytes).take(PAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_as_long_as_they_are_to_be_and_unlike() {
        assert_eq!(page(1).len(), PAGE);
        assert_eq!(page(1), page(1));
        assert_ne!(page(1), page(2));
    }
}
