//! Long histories of a correct store, and the same with something changed.

use flin_check::linear::{FailureKind, Limits};
use proptest::prelude::*;

use super::check_within;
use super::store::{Chance, Shape, record};

fn long() -> impl Strategy<Value = Shape> {
    let sizes = (10_usize..600, 1_u32..11, 1_u32..5, 1_u8..4);
    let shares = (0_u64..15, 0_u64..20, 0_u64..60);
    let times = (1_u64..5_000, 1_u64..5_000, 1_u64..50_000, 0_u64..2_000);
    (sizes, shares, times, any::<bool>()).prop_map(|(sizes, shares, times, distinct)| Shape {
        operations: sizes.0,
        clients: sizes.1,
        objects: sizes.2,
        keys_max: sizes.3,
        unknown_percent: shares.0,
        lives_percent: shares.1,
        ahead_percent: shares.2,
        length_us: times.0,
        pause_us: times.1,
        life_us: times.2,
        clock_error_us: times.3,
        distinct,
    })
}

proptest! {
    #[test]
    fn a_correct_store_is_never_accused(shape in long(), seed in any::<u64>()) {
        let history = record(&shape, &mut Chance::new(seed));
        let limits = Limits { clock_error_us: shape.clock_error_us, steps_max: 200_000 };
        let failures = check_within(&history, &limits).expect("a history that can be judged");
        let accused = failures.iter().find(|failure| {
            failure.kind == FailureKind::NotLinearizable
        });
        prop_assert!(accused.is_none(), "{}", accused.expect("just seen"));
    }
}
