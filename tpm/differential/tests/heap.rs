//! How much heap an engine has with every slot in use.

use tpm_differential::fuzz::{MOST_HEAP, Measured};
use tpm_differential::side::Side;
use tpm_differential::step::{
    Action, Auth, Handle, HandleValue, Name, Part, Piece, Step, b2, sized, u8, u16, u32,
};

#[global_allocator]
static HEAP: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);

const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;

/// Does a step and returns the response code.
fn rc(side: &mut Side, step: Step) -> u32 {
    let exchanges = side.act(&Action::Command(Box::new(step))).unwrap();
    exchanges.last().map_or(u32::MAX, |exchange| exchange.rc())
}

fn step(code: u32, handles: &[u32], auths: usize, params: Vec<Piece>) -> Step {
    let mut step = Step::new(code);
    step.handles = handles.iter().map(|handle| Handle::from(*handle)).collect();
    step.auths = (0..auths).map(|_| Auth::password(&[])).collect();
    step.params = params;
    step
}

/// CreatePrimary of sealed data.
fn sealed(hierarchy: u32, data: &[u8]) -> Step {
    let public = vec![u16(8), u16(11), u32(0x0452), b2(&[]), u16(0x10), b2(&[])];
    let params = vec![
        sized(vec![b2(&[]), b2(data)]),
        sized(public),
        b2(&[]),
        u32(0),
    ];
    step(0x131, &[hierarchy], 1, params)
}

fn flush(handle: u32) -> Step {
    step(0x165, &[], 0, vec![u32(handle)])
}

#[test]
fn an_engine_with_all_slots_used_has_less_than_a_mebibyte_of_heap() {
    let (measured, heap) = Measured::new(1, || HEAP.allocated());
    let new = heap.now();
    let mut side = Side::new(Box::new(measured));
    assert_eq!(rc(&mut side, step(0x144, &[], 0, vec![u16(0)])), 0);

    // Persistent objects.
    let mut persistent = 0;
    loop {
        assert_eq!(
            rc(&mut side, sealed(OWNER, &[persistent as u8 + 1; 128])),
            0
        );
        let evict = step(
            0x120,
            &[OWNER, 0x8000_0000],
            1,
            vec![u32(0x8100_0000 + persistent)],
        );
        let code = rc(&mut side, evict);
        assert_eq!(rc(&mut side, flush(0x8000_0000)), 0);
        if code != 0 {
            break;
        }
        persistent += 1;
    }

    // NV indices, as large as they can be, then as many as there can be.
    let mut indices = 0;
    for size in [2048, 512, 64, 8, 0] {
        loop {
            let public = vec![
                u32(0x0100_0000 + indices),
                u16(11),
                u32(0x0006_0006),
                b2(&[]),
                u16(size),
            ];
            let code = rc(
                &mut side,
                step(0x12A, &[OWNER], 1, vec![b2(&[]), sized(public)]),
            );
            if code != 0 {
                break;
            }
            let params = vec![b2(&vec![7; usize::from(size.min(1024))]), u16(0)];
            assert_eq!(
                rc(
                    &mut side,
                    step(0x137, &[OWNER, 0x0100_0000 + indices], 1, params)
                ),
                0
            );
            indices += 1;
        }
    }

    // Sessions: all but three saved.
    let mut sessions = 0;
    loop {
        let params = vec![
            b2(&[1; 32]),
            b2(&[]),
            u8(1),
            u16(6),
            u16(256),
            u16(0x43),
            u16(13),
        ];
        let code = rc(&mut side, step(0x176, &[NULL, NULL], 0, params));
        match code {
            0 => sessions += 1,
            0x903 => {
                // The lowest that is loaded makes room.
                let mut list = step(0x17A, &[], 0, vec![u32(1), u32(0x0200_0000), u32(1)]);
                list.saves = vec![(Part::Field(1), 1)];
                let exchanges = side.act(&Action::Command(Box::new(list))).unwrap();
                let handle = exchanges[0].plain[19..23]
                    .try_into()
                    .map(u32::from_be_bytes)
                    .unwrap();
                let mut save = step(0x162, &[], 0, vec![]);
                save.handles = vec![Handle {
                    value: HandleValue::Const(handle),
                    name: Name::Handle,
                }];
                assert_eq!(rc(&mut side, save), 0);
            }
            _ => break,
        }
    }

    // Transient objects.
    let mut objects = 0;
    while rc(&mut side, sealed(NULL, &[9; 128])) == 0 {
        objects += 1;
    }

    println!(
        "heap: {new} bytes when new, {} with {objects} objects, {persistent} persistent ones, {sessions} sessions, {indices} NV indices; peak {}",
        heap.now(),
        heap.peak()
    );
    assert!(
        (objects, sessions) == (3, 64),
        "{objects} objects, {sessions} sessions"
    );
    assert!(
        persistent >= 7 && indices >= 32,
        "{persistent} persistent objects, {indices} indices"
    );
    assert!(heap.peak() <= MOST_HEAP);
}
