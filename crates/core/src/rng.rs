//! The engine's pseudo-random numbers: xoshiro256++, seeded once, the same on every machine for the same seed.
//! Good for jitter, back-off and simulated weather; never for keys, tokens or anything an adversary must not guess.

use std::fmt;

/// A small, fast pseudo-random generator (xoshiro256++ of Blackman and Vigna). The same seed gives the same numbers, on every
/// platform and in every release of one minor version.
///
/// **Not for secrets**: whoever sees a few outputs can compute the rest.
#[derive(Clone, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// A generator whose state is mixed out of 32 bytes; any bytes will do, zeros included.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let mut mixed = 0;
        let mut state = [0; 4];
        let (words, _) = seed.as_chunks::<8>();
        for (place, word) in state.iter_mut().zip(words) {
            mixed ^= u64::from_le_bytes(*word);
            *place = splitmix(&mut mixed);
        }
        Self::from_state(state)
    }

    /// A generator out of a single number: what people type on a command line.
    pub fn from_number(seed: u64) -> Self {
        let mut mixed = seed;
        Self::from_state(std::array::from_fn(|_| splitmix(&mut mixed)))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound`, each as likely as the others; zero if `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Lemire's method: the high half of a product, drawn again in the rare case that would favour small numbers.
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let floor = bound.wrapping_neg() % bound;
            while (product as u64) < floor {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// True with probability `p`: never for zero or less, always for one or more. Draws nothing in these two cases.
    pub fn chance(&mut self, p: f64) -> bool {
        if p <= 0.0 {
            return false;
        }
        p >= 1.0 || self.unit() < p
    }

    /// A number from zero up to, but not including, one.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Fills a buffer with random bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    /// Puts a slice into a random order, each order as likely as the others.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }

    fn from_state(state: [u64; 4]) -> Self {
        // All zeros is the one state that xoshiro never leaves.
        if state == [0; 4] { Self { state: [1, 2, 3, 4] } } else { Self { state } }
    }
}

/// Hides the state: it predicts everything that follows.
impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(..)")
    }
}

/// One step of splitmix64, which spreads a poor seed over all bits.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_outputs_are_those_of_the_reference_implementation() {
        let mut rng = Rng::from_state([1, 2, 3, 4]);
        let first: Vec<u64> = (0..4).map(|_| rng.next_u64()).collect();
        assert_eq!(first, [41943041, 58720359, 3588806011781223, 3591011842654386]);
        assert_eq!(splitmix(&mut 0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let mut one = Rng::from_seed([7; 32]);
        let mut two = Rng::from_seed([7; 32]);
        let mut seed = [7; 32];
        seed[31] = 8;
        let mut other = Rng::from_seed(seed);
        let numbers: Vec<u64> = (0..100).map(|_| one.next_u64()).collect();
        assert!(numbers.iter().all(|number| *number == two.next_u64()));
        assert!(numbers.iter().any(|number| *number != other.next_u64()));
    }

    #[test]
    fn below_stays_below_and_reaches_every_number() {
        let mut rng = Rng::from_number(1);
        let mut seen = [0u32; 7];
        for _ in 0..7_000 {
            seen[rng.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn chance_keeps_to_its_probability() {
        let mut rng = Rng::from_number(2);
        let hits = (0..10_000).filter(|_| rng.chance(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert!(!rng.chance(0.0) && !rng.chance(-1.0) && rng.chance(1.0) && rng.chance(2.0));
    }

    #[test]
    fn shuffle_keeps_every_item_and_fill_every_byte() {
        let mut rng = Rng::from_number(3);
        let mut items: Vec<u32> = (0..100).collect();
        rng.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
        let mut bytes = [0; 1001];
        rng.fill(&mut bytes);
        assert!(bytes.iter().filter(|byte| **byte == 0).count() < 20);
    }
}
