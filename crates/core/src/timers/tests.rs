//! The queue against a sorted list, at random; then what a random test would not find.

use super::{GARBAGE, Key, State, Timers, Wheel};

const MS: u64 = 1_000_000;
const S: u64 = 1000 * MS;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Near or far, with ties; sometimes past, sometimes centuries away.
    fn deadline(&mut self, now: u64) -> u64 {
        match self.below(16) {
            0 => now.saturating_sub(self.below(S)),
            1 => now,
            2 => u64::MAX - self.below(3),
            3 => self.next(),
            4..8 => now.saturating_add((1 + self.below(5)) * 10 * MS),
            _ => {
                let magnitude = self.below(42);
                now.saturating_add(self.below(1 << magnitude))
            }
        }
    }
}

/// The list the queue must agree with.
#[derive(Default)]
struct Model {
    pending: Vec<(u64, u64, Key)>,
    seq: u64,
}

impl Model {
    fn insert(&mut self, deadline: u64, key: Key) {
        let at = self.pending.partition_point(|&(d, s, _)| (d, s) < (deadline, self.seq));
        self.pending.insert(at, (deadline, self.seq, key));
        self.seq += 1;
    }

    fn remove(&mut self, key: Key) -> bool {
        let at = self.pending.iter().position(|&(.., k)| k == key);
        at.is_some_and(|at| {
            self.pending.remove(at);
            true
        })
    }

    fn pop_due(&mut self, now: u64, before: u64) -> Option<Key> {
        let at = self.pending.iter().position(|&(d, s, _)| d <= now && s < before)?;
        Some(self.pending.remove(at).2)
    }
}

fn agrees_with_a_sorted_list(seed: u64, steps: usize, crowd: u64) {
    let mut random = Random(seed);
    let mut timers = Timers::new();
    let mut model = Model::default();
    let mut keys: Vec<Key> = Vec::new();
    // The last life of each slot, by the model, for `state`.
    let mut ends: Vec<(Key, State)> = Vec::new();
    let mut now = random.below(2) * random.below(1 << 60);
    let mut mark = u64::MAX;
    let growing = 2 + random.below(crowd);
    for step in 0..steps {
        let pick = |random: &mut Random, keys: &[Key]| {
            let at = random.below(keys.len().max(1) as u64) as usize;
            keys.get(at).copied()
        };
        match random.below(12 + growing) {
            0..2 => {
                if let Some(key) = pick(&mut random, &keys) {
                    let was = model.remove(key);
                    assert_eq!(timers.cancel(key).is_some(), was, "seed {seed} step {step}");
                    if was {
                        ends.push((key, State::Cancelled));
                    }
                }
            }
            2..5 => {
                if let Some(key) = pick(&mut random, &keys) {
                    let deadline = random.deadline(now);
                    let was = model.remove(key);
                    if was {
                        model.insert(deadline, key);
                    }
                    assert_eq!(timers.set_deadline(key, deadline), was, "seed {seed} step {step}");
                }
            }
            5 => mark = if random.below(4) == 0 { u64::MAX } else { timers.mark() },
            6 => {
                let first = model.pending.first().map(|&(d, ..)| d);
                assert_eq!(timers.next_deadline(), first, "seed {seed} step {step}");
            }
            7..12 => {
                let magnitude = random.below(36);
                now = now.saturating_add(random.below(1 << magnitude));
                // Mostly a bounded turn; sometimes one that is cut short, or a bound of long ago.
                let before = if random.below(50) == 0 { random.below(model.seq + 1) } else { mark };
                let most = if random.below(3) == 0 { random.below(4) as usize } else { usize::MAX };
                for _ in 0..most {
                    let popped = timers.pop_due(now, before);
                    let expected = model.pop_due(now, before);
                    assert_eq!(popped.map(|(key, _)| key), expected, "seed {seed} step {step}");
                    let Some((key, value)) = popped else { break };
                    assert_eq!(value, key.index, "seed {seed} step {step}");
                    ends.push((key, State::Called));
                    // A timer set by a timer.
                    if random.below(8) == 0 {
                        insert(&mut timers, &mut model, &mut keys, random.deadline(now));
                    }
                }
            }
            _ => insert(&mut timers, &mut model, &mut keys, random.deadline(now)),
        }
        assert_eq!(timers.len(), model.pending.len());
        if step % 16 == 0 {
            check(&timers);
        }
    }
    for &(deadline, _, key) in &model.pending {
        assert_eq!((timers.state(key), timers.deadline(key)), (State::Pending, Some(deadline)));
    }
    assert_eq!(timers.iter().count(), model.pending.len());
    let mut seen = std::collections::HashSet::new();
    for &(key, state) in ends.iter().rev() {
        // Only the last life that ended in a slot is remembered.
        let expected = if seen.insert(key.index) { state } else { State::Unknown };
        assert_eq!(timers.state(key), expected, "seed {seed}");
        assert_eq!(timers.get(key), None, "seed {seed}");
    }
    let expected = std::iter::from_fn(|| model.pop_due(u64::MAX, u64::MAX));
    let popped = std::iter::from_fn(|| timers.pop_due(u64::MAX, u64::MAX).map(|(key, _)| key));
    assert!(popped.eq(expected), "seed {seed}");
    assert!(timers.is_empty() && timers.next_deadline().is_none());
}

fn insert(timers: &mut Timers<u32>, model: &mut Model, keys: &mut Vec<Key>, deadline: u64) {
    let key = timers.insert(deadline, 0);
    assert_eq!(timers.state(key), State::Pending);
    if let Some(value) = timers.get_mut(key) {
        *value = key.index;
    }
    model.insert(deadline, key);
    keys.push(key);
}

#[test]
fn few_timers_run_in_the_order_of_a_sorted_list() {
    for seed in 0..4000 {
        agrees_with_a_sorted_list(seed, 200, 8);
    }
}

#[test]
fn many_timers_run_in_the_order_of_a_sorted_list() {
    for seed in 10_000..10_030 {
        agrees_with_a_sorted_list(seed, 4000, 80);
    }
}

#[test]
fn a_crowd_in_front_of_the_wheel_runs_in_the_order_of_a_sorted_list() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let (mut timers, mut model) = (Timers::new(), Model::default());
        let mut keys = Vec::new();
        let now = random.below(100) * S;
        assert!(timers.pop_due(now, u64::MAX).is_none());
        for _ in 0..=random.below(200) {
            insert(&mut timers, &mut model, &mut keys, now + 3600 * S + random.below(S));
        }
        for i in 0..4000 {
            if i % 1500 == 0 {
                // The limit runs ahead, to the earliest of them.
                assert_eq!(timers.next_deadline(), model.pending.first().map(|&(d, ..)| d));
            }
            insert(&mut timers, &mut model, &mut keys, now + random.below(3000 * S));
            let key = keys[random.below(keys.len() as u64) as usize];
            if random.below(3) == 0 {
                assert_eq!(timers.cancel(key).is_some(), model.remove(key));
            }
        }
        assert!(timers.work.done < 20 * 4000, "{}", timers.work.done);
        while let Some(&(deadline, _, key)) = model.pending.first() {
            model.pending.remove(0);
            assert_eq!(timers.next_deadline(), Some(deadline));
            assert_eq!(timers.pop_due(deadline, u64::MAX).map(|(key, _)| key), Some(key));
        }
        assert!(timers.is_empty());
    }
}

#[test]
fn ties_run_in_the_order_they_were_scheduled() {
    let mut timers = Timers::new();
    let keys: Vec<Key> = (0..1000).map(|i| timers.insert(S, i)).collect();
    // Set anew, to the same time: to the end of the line.
    assert!(timers.set_deadline(keys[0], S));
    // Later and back again: also the end.
    assert!(timers.set_deadline(keys[1], 2 * S));
    assert!(timers.set_deadline(keys[1], S));
    let order: Vec<i32> = pop_all(&mut timers, S);
    assert_eq!(order, (2..1000).chain([0, 1]).collect::<Vec<_>>());
}

#[test]
fn nothing_runs_before_its_deadline() {
    let mut timers = Timers::new();
    timers.insert(S, ());
    assert!(timers.pop_due(S - 1, u64::MAX).is_none());
    assert!(timers.pop_due(S, u64::MAX).is_some());
}

#[test]
fn a_timer_scheduled_since_the_mark_waits_for_the_next_one() {
    let mut timers = Timers::new();
    timers.insert(3, 'b');
    let reset = timers.insert(2, 'c');
    let mark = timers.mark();
    timers.insert(1, 'a');
    timers.set_deadline(reset, 2);
    assert_eq!(timers.pop_due(9, mark).map(|(_, v)| v), Some('b'));
    assert!(timers.pop_due(9, mark).is_none());
    assert_eq!(timers.next_deadline(), Some(1));
    assert!(timers.pop_due(9, mark).is_none());
    let mark = timers.mark();
    assert_eq!(timers.pop_due(9, mark).map(|(_, v)| v), Some('a'));
    assert_eq!(timers.next_deadline(), Some(2));
    assert_eq!(timers.pop_due(9, mark).map(|(_, v)| v), Some('c'));
}

#[test]
fn held_back_timers_can_be_cancelled_and_put_off() {
    let mut timers = Timers::new();
    let (a, b) = (timers.insert(1, 'a'), timers.insert(2, 'b'));
    assert!(timers.pop_due(5, 0).is_none());
    assert_eq!(timers.cancel(a), Some('a'));
    assert_eq!(timers.next_deadline(), Some(2));
    assert!(timers.set_deadline(b, S));
    assert_eq!(timers.next_deadline(), Some(S));
    assert!(timers.pop_due(S - 1, u64::MAX).is_none());
    assert_eq!(timers.pop_due(S, u64::MAX), Some((b, 'b')));
}

#[test]
fn fired_and_cancelled_timers_are_told_apart() {
    let mut timers = Timers::new();
    let fired = timers.insert(1, ());
    let cancelled = timers.insert(2, ());
    assert!(timers.pop_due(1, u64::MAX).is_some() && timers.cancel(cancelled).is_some());
    assert_eq!(timers.state(fired), State::Called);
    assert_eq!(timers.state(cancelled), State::Cancelled);
    assert!(timers.cancel(fired).is_none() && !timers.set_deadline(fired, 5));
    // Their slots live again: the last life is still remembered, ...
    let again = [timers.insert(3, ()), timers.insert(3, ())];
    assert_eq!(timers.state(fired), State::Called);
    assert_eq!(timers.state(cancelled), State::Cancelled);
    // ... until that ends too.
    assert!(again.iter().all(|&key| timers.cancel(key).is_some()));
    assert_eq!(timers.state(fired), State::Unknown);
    assert_eq!(again.map(|key| timers.state(key)), [State::Cancelled; 2]);
    assert_eq!(Timers::<()>::new().state(fired), State::Unknown);
}

#[test]
fn deadlines_centuries_away_are_kept_apart() {
    let mut timers = Timers::new();
    let deadlines = [u64::MAX, 1 << 63, u64::MAX - 1, 1, u64::MAX, 1 << 58, 0, (1 << 58) - 1];
    for (i, &deadline) in deadlines.iter().enumerate() {
        timers.insert(deadline, i);
    }
    assert_eq!(timers.next_deadline(), Some(0));
    assert_eq!(pop_all(&mut timers, u64::MAX - 2), [6, 3, 7, 5, 1]);
    assert_eq!(timers.next_deadline(), Some(u64::MAX - 1));
    assert_eq!(pop_all(&mut timers, u64::MAX), [2, 0, 4]);
    // The limit can go no further: all is in front of it now.
    timers.insert(u64::MAX, 8);
    timers.insert(7, 9);
    assert_eq!(pop_all(&mut timers, u64::MAX), [9, 8]);
}

#[test]
fn draining_cancels_all_and_hands_back_each_value() {
    let mut timers = Timers::new();
    let keys: Vec<Key> = (0..5000).map(|i| timers.insert(i * MS, i)).collect();
    let last = timers.insert(S, 5000);
    assert_eq!(timers.cancel(last), Some(5000));
    assert!(timers.pop_due(0, u64::MAX).is_some());
    let mut drained: Vec<u64> = timers.drain().into_iter().map(|(_, value)| value).collect();
    drained.sort_unstable();
    assert_eq!(drained, (1..5000).collect::<Vec<_>>());
    assert!(timers.is_empty() && timers.next_deadline().is_none() && entries(&timers) == 0);
    assert_eq!(timers.state(keys[0]), State::Called);
    assert_eq!(timers.state(keys[4999]), State::Cancelled);
    timers.insert(7, 7);
    assert_eq!(pop_all(&mut timers, 7), [7]);
}

#[test]
fn entries_of_cancelled_timers_are_never_the_greater_part_for_long() {
    for spread in [1, MS, 60 * S, u64::MAX / 2] {
        let mut random = Random(spread);
        let mut timers = Timers::new();
        timers.insert(S, ());
        for _ in 0..100_000 {
            timers.next_deadline();
            let key = timers.insert(random.below(spread), ());
            timers.cancel(key);
        }
        // So few that a sweep is not worth it.
        assert!(entries(&timers) <= 2 * (2048 + GARBAGE), "{spread}: {}", entries(&timers));
    }
}

#[test]
fn memory_is_given_back_after_a_burst() {
    let mut random = Random(1);
    let mut timers = Timers::new();
    for fire in [true, false] {
        let keys: Vec<Key> =
            (0..100_000).map(|_| timers.insert(random.below(60 * S), [0; 4])).collect();
        if fire {
            while timers.pop_due(60 * S, u64::MAX).is_some() {}
        } else {
            assert!(keys.iter().all(|&key| timers.cancel(key).is_some()));
        }
        assert!(timers.is_empty());
        // A little each turn.
        for _ in 0..=100_000 / super::TRIM {
            assert!(timers.pop_due(60 * S, u64::MAX).is_none());
        }
        let room = timers.near.capacity() + timers.early.capacity() + timers.held.capacity();
        assert!(room <= 10_000, "{room}");
        assert!(timers.slab.extent() <= 1024, "{}", timers.slab.extent());
        // How they ended is not forgotten.
        let end = if fire { State::Called } else { State::Cancelled };
        assert!(keys.iter().all(|&key| timers.state(key) == end));
    }
}

/// `n` steps of something that could be made to look at everything each time.
fn per_step(
    n: usize,
    timers: &mut Timers<u32>,
    mut step: impl FnMut(&mut Timers<u32>, u64),
) -> usize {
    let before = timers.work.done;
    (0..n as u64).for_each(|i| step(timers, i));
    (timers.work.done - before) / n
}

#[test]
fn cancelling_the_earliest_again_and_again_looks_at_few() {
    for (spread, n) in [(1, 50_000), (S, 50_000), (3600 * S, 50_000)] {
        let (mut timers, mut random) = (Timers::new(), Random(2));
        let mut keys: Vec<(u64, Key)> = (0..n)
            .map(|_| 10 * S + random.below(spread))
            .map(|deadline| (deadline, timers.insert(deadline, 0)))
            .collect();
        keys.sort_by_key(|&(deadline, _)| deadline);
        let looked = per_step(n, &mut timers, |timers, i| {
            assert_eq!(timers.next_deadline(), Some(keys[i as usize].0));
            timers.cancel(keys[i as usize].1);
        });
        assert!(looked <= 12, "{spread}: {looked}");
    }
}

#[test]
fn setting_one_earlier_again_and_again_looks_at_few() {
    let (mut timers, mut random) = (Timers::new(), Random(3));
    let first = timers.insert(3600 * S, 0);
    for _ in 0..50_000 {
        timers.insert(3600 * S + random.below(S), 0);
    }
    let looked = per_step(100_000, &mut timers, |timers, i| {
        assert!(timers.set_deadline(first, 3600 * S - i));
        assert_eq!(timers.next_deadline(), Some(3600 * S - i));
    });
    assert!(looked <= 12, "{looked}");
    assert!(entries(&timers) < 110_000);
}

#[test]
fn each_earlier_than_all_before_looks_at_few() {
    let (mut timers, mut random) = (Timers::new(), Random(5));
    for _ in 0..100_000 {
        timers.insert(3600 * S + random.below(S), 0);
    }
    let looked = per_step(20_000, &mut timers, |timers, i| {
        timers.insert(3600 * S - i * MS, 0);
        assert_eq!(timers.next_deadline(), Some(3600 * S - i * MS));
    });
    assert!(looked <= 25, "{looked}");
}

#[test]
fn a_crowd_in_front_of_the_wheel_is_handed_back_to_it() {
    let (mut timers, mut random) = (Timers::new(), Random(6));
    timers.insert(3600 * S, 0);
    assert_eq!(timers.next_deadline(), Some(3600 * S));
    for _ in 0..50_000 {
        timers.insert(random.below(3600 * S), 0);
    }
    assert!(timers.early.len() < 2 * super::CROWD, "{}", timers.early.len());
}

#[test]
fn sweeping_out_cancelled_timers_keeps_the_order_of_a_sorted_list() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let (mut timers, mut model) = (Timers::new(), Model::default());
        let mut keys = Vec::new();
        for _ in 0..7000 {
            insert(&mut timers, &mut model, &mut keys, random.below(100 * S));
        }
        for i in 0..6000 {
            let key = keys.swap_remove(random.below(keys.len() as u64) as usize);
            assert_eq!(timers.cancel(key).is_some(), model.remove(key));
            if i % 10 == 0 {
                let key = keys[random.below(keys.len() as u64) as usize];
                let deadline = random.below(200 * S);
                assert!(model.remove(key) && timers.set_deadline(key, deadline));
                model.insert(deadline, key);
            }
            if i % 1000 == 0 {
                assert_eq!(timers.next_deadline(), model.pending.first().map(|&(d, ..)| d));
            }
        }
        // Swept, and the room used again.
        assert!(entries(&timers) <= 1000 + 2048 + 2 * GARBAGE, "{}", entries(&timers));
        assert!(timers.work.done < 20 * 7000, "{}", timers.work.done);
        for _ in 0..3000 {
            insert(&mut timers, &mut model, &mut keys, random.below(100 * S));
        }
        assert_eq!(timers.slab.extent(), 7000);
        let expected = std::iter::from_fn(|| model.pop_due(u64::MAX, u64::MAX));
        let popped = std::iter::from_fn(|| timers.pop_due(u64::MAX, u64::MAX).map(|(key, _)| key));
        assert!(popped.eq(expected), "seed {seed}");
        assert_eq!(entries(&timers), 0);
    }
}

#[test]
fn setting_all_earlier_in_turn_looks_at_few() {
    let mut timers = Timers::new();
    let keys: Vec<Key> = (0..2000).map(|_| timers.insert(36_000 * S, 0)).collect();
    let looked = per_step(100_000, &mut timers, |timers, i| {
        let deadline = 36_000 * S - i * 300 * MS;
        assert!(timers.set_deadline(keys[i as usize % keys.len()], deadline));
        assert_eq!(timers.next_deadline(), Some(deadline));
    });
    assert!(looked <= 24, "{looked}");
    assert!(entries(&timers) <= 2 * (2048 + GARBAGE + keys.len()));
}

#[test]
fn many_timers_with_one_deadline_are_handled_a_few_times_each() {
    for deadline in [0, S, 86_400 * S, u64::MAX] {
        let mut timers = Timers::new();
        let looked = per_step(200_000, &mut timers, |timers, i| {
            timers.insert(deadline, i as u32);
            assert_eq!(timers.next_deadline(), Some(deadline));
        });
        assert!(looked <= 16, "{deadline}: {looked}");
        let looked = per_step(200_000, &mut timers, |timers, i| {
            assert_eq!(timers.pop_due(deadline, u64::MAX).map(|(_, v)| v), Some(i as u32));
        });
        assert!(looked <= 4, "{deadline}: {looked}");
    }
}

#[test]
fn many_timers_in_one_far_slot_are_handled_a_few_times_each() {
    let (mut timers, mut random) = (Timers::new(), Random(4));
    let day = 86_400 * S;
    per_step(200_000, &mut timers, |timers, _| {
        timers.insert(300 * day + random.below(day), 0);
    });
    let looked = per_step(200_000, &mut timers, |timers, _| {
        let next = timers.next_deadline();
        assert!(next.is_some_and(|next| timers.pop_due(next, u64::MAX).is_some()));
    });
    assert!(looked <= 10, "{looked}");
}

#[test]
fn putting_off_handles_no_entry() {
    let mut timers = Timers::new();
    let keys: Vec<Key> = (0..1000).map(|i| timers.insert(S + i, 0)).collect();
    timers.next_deadline();
    let before = timers.work.done;
    for round in 0..100 {
        for (i, &key) in keys.iter().enumerate() {
            assert!(timers.set_deadline(key, S + i as u64 + round * S));
        }
    }
    assert_eq!(timers.work.done, before);
    // They are corrected when they are met, once each however often they were put off.
    assert_eq!(timers.next_deadline(), Some(100 * S));
    assert!(timers.work.done - before <= 10 * 1000, "{}", timers.work.done - before);
}

#[test]
fn held_back_timers_are_passed_over_once_a_turn() {
    let mut timers = Timers::new();
    let chain = 20_000;
    per_step(chain, &mut timers, |timers, i| {
        timers.insert(0, i as u32);
    });
    let mark = timers.mark();
    // Each timer of the turn sets two that are due at once, and somebody asks for the next
    // deadline.
    let looked = per_step(chain, &mut timers, |timers, i| {
        assert_eq!(timers.pop_due(MS, mark).map(|(_, v)| v), Some(i as u32));
        timers.insert(0, 0);
        timers.insert(MS, 1);
        assert_eq!(timers.next_deadline(), Some(0));
    });
    assert!(timers.pop_due(MS, mark).is_none());
    assert!(looked <= 8, "{looked}");
    let mut order = vec![0; chain];
    order.resize(2 * chain, 1);
    assert_eq!(pop_all(&mut timers, MS), order);
}

#[test]
fn many_set_earlier_are_handed_back_to_the_wheel() {
    let (mut timers, mut random, n) = (Timers::new(), Random(7), 20_000);
    let keys: Vec<Key> = (0..n).map(|i| timers.insert(3600 * S, i as u32)).collect();
    let mut expected = Vec::new();
    let looked = per_step(n, &mut timers, |timers, i| {
        let deadline = 10 * S + random.below(3000 * S);
        expected.push((deadline, i as u32));
        assert!(timers.set_deadline(keys[i as usize], deadline));
        assert!(timers.ahead.len() <= n / 4);
    });
    assert!(looked <= 12, "{looked}");
    check(&timers);
    expected.sort_unstable();
    let looked = per_step(n, &mut timers, |timers, i| {
        let (deadline, value) = expected[i as usize];
        assert_eq!(timers.next_deadline(), Some(deadline));
        assert_eq!(timers.pop_due(deadline, u64::MAX).map(|(_, v)| v), Some(value));
    });
    assert!(looked <= 12, "{looked}");
}

#[test]
fn timers_set_earlier_leave_little_behind_when_they_fire() {
    let mut timers = Timers::new();
    (0..1000).for_each(|i| assert_eq!(timers.insert(u64::MAX - i, 0).version, 0));
    let looked = per_step(50_000, &mut timers, |timers, i| {
        let key = timers.insert(i * MS + 3600 * S, 0);
        // Mostly in front of the limit; sometimes beyond it, and put off.
        let later = if i % 50 == 0 { S } else { 0 };
        assert!(timers.set_deadline(key, i * MS + later));
        assert!(timers.set_deadline(key, i * MS + 2 * later));
        while timers.pop_due(i * MS, u64::MAX).is_some() {}
    });
    assert!(looked <= 24, "{looked}");
    assert!(entries(&timers) <= 5000, "{}", entries(&timers));
    assert!(timers.slab.extent() <= 5000, "{}", timers.slab.extent());
    check(&timers);
}

/// That what is counted as it goes is what there is.
pub(super) fn check<T>(timers: &Timers<T>) {
    timers.slab.check();
    let heaps = [&timers.early, &timers.held, &timers.ahead];
    let entries = heaps.into_iter().flatten().map(|entry| &entry.0).chain(&timers.near);
    assert_eq!(entries.filter(|&entry| !timers.slab.owns(entry)).count(), timers.stale);
    assert!(timers.ahead.iter().all(|entry| timers.wheel.covers(entry.0.deadline)));
}

fn pop_all<T>(timers: &mut Timers<T>, now: u64) -> Vec<T> {
    std::iter::from_fn(|| timers.pop_due(now, u64::MAX)).map(|(_, value)| value).collect()
}

fn entries<T>(timers: &Timers<T>) -> usize {
    let near = timers.near.len() + timers.early.len() + timers.held.len();
    near + timers.ahead.len() + Wheel::len(&timers.slab)
}
