//! The arithmetic against `crypto-bigint`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

use alloc::vec;
use alloc::vec::Vec;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{NonZero, Odd, Uint};
use proptest::prelude::*;

use super::montgomery::{Modulus, enter_public};
use super::number::{Limbs, divide_exact, from_bytes, multiply, sub, to_bytes};
use super::sieve::{LENGTH, Sieve, remainder};

/// Limbs that are often all zeros or all ones, where carries go wrong.
fn limbs<const N: usize>() -> impl Strategy<Value = Limbs<N>> {
    let limb = prop_oneof![3 => any::<u64>(), 1 => Just(0), 1 => Just(u64::MAX), 1 => 0..3u64];
    proptest::collection::vec(limb, N).prop_map(|v| v.try_into().unwrap())
}

fn moduli<const N: usize>() -> impl Strategy<Value = Limbs<N>> {
    limbs().prop_map(|mut n: Limbs<N>| {
        n[0] |= 1;
        n[N - 1] |= 1 << 63;
        n
    })
}

fn agrees<const N: usize>(n: &Limbs<N>, a: &Limbs<N>, b: &Limbs<N>) {
    let big = Uint::from_words(*n);
    let params = FixedMontyParams::new(Odd::new(big).unwrap());
    let nonzero = NonZero::new(big).unwrap();
    let [a, b] = [a, b].map(|x| Uint::from_words(*x).rem(&nonzero));
    let form = |x: &Uint<N>| FixedMontyForm::new(x, &params);
    let (words, product) = (a.to_words(), form(&a) * form(&b));

    let modulus = Modulus::new(n);
    let [x, y] = [a, b].map(|x| modulus.enter(&x.to_words()));
    let mut one = [0; N];
    one[0] = 1;
    let leave = |x: &Limbs<N>| modulus.mul(x, &one);
    assert_eq!(leave(&x), words);
    assert_eq!(modulus.enter(&one), modulus.one());
    assert_eq!(leave(&modulus.mul(&x, &y)), product.retrieve().to_words());
    assert_eq!(modulus.square(&x), modulus.mul(&x, &x));
    assert_eq!(
        modulus.double(&x),
        modulus.mul(&x, &modulus.double(&modulus.one()))
    );
    assert_eq!(modulus.minus_one(), modulus.sub(&[0; N], &modulus.one()));
    assert_eq!(
        leave(&modulus.sub(&x, &y)),
        (form(&a) - form(&b)).retrieve().to_words()
    );
    assert_eq!(enter_public(n, &words), x);
    assert_eq!(
        leave(&modulus.pow(&x, &b.to_words())),
        form(&a).pow(&b).retrieve().to_words()
    );
    assert_eq!(
        modulus.pow_of_two(&b.to_words()),
        modulus.pow(&modulus.double(&modulus.one()), &b.to_words())
    );
    assert_eq!(
        modulus.pow_public(&x, 65537),
        modulus.pow(&x, &Uint::from(65537u32).to_words())
    );
    let mut wide = vec![0; 2 * N];
    multiply(&words, &b.to_words(), &mut wide);
    assert_eq!(
        leave(&modulus.enter_wide(&wide)),
        product.retrieve().to_words()
    );
    if a.to_words()[0] & 1 == 1 {
        assert_eq!(divide_exact(&wide, &words), b.to_words());
    }
    let mut bytes = vec![0; 8 * N];
    to_bytes(&words, &mut bytes);
    assert_eq!(from_bytes::<N>(&bytes), words);
    assert_eq!(sub(&words, &b.to_words()).1 == 1, a < b);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn arithmetic_agrees_at_1024_bits(n in moduli::<16>(), a in limbs(), b in limbs()) {
        agrees(&n, &a, &b);
    }

    #[test]
    fn arithmetic_agrees_at_1536_bits(n in moduli::<24>(), a in limbs(), b in limbs()) {
        agrees(&n, &a, &b);
    }

    #[test]
    fn arithmetic_agrees_at_2048_bits(n in moduli::<32>(), a in limbs(), b in limbs()) {
        agrees(&n, &a, &b);
    }

    #[test]
    fn arithmetic_agrees_at_3072_bits(n in moduli::<48>(), a in limbs(), b in limbs()) {
        agrees(&n, &a, &b);
    }

    #[test]
    fn the_sieve_strikes_what_has_a_small_factor(start in limbs::<4>()) {
        let start = [start[0] | 1, start[1], start[2], start[3]];
        let survivors: Vec<usize> = Sieve::new(&start).survivors().collect();
        prop_assert!(survivors.iter().all(|index| *index < LENGTH));
        for index in 0..LENGTH {
            let mut number = [start[0], start[1], start[2], start[3], 0];
            let mut carry = 2 * index as u64;
            for limb in &mut number {
                let over;
                (*limb, over) = limb.overflowing_add(carry);
                carry = over.into();
            }
            let small = (3..1u32 << 16).step_by(2).any(|d| remainder(&number, d) == 0);
            prop_assert_eq!(survivors.binary_search(&index).is_err(), small, "{}", index);
            if index > 40 {
                break;
            }
        }
    }
}
