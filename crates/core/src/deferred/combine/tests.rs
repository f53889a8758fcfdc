//! What the combinations promise, one by one; then random ones against a model of what they should come to.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::thread;

use super::*;
use crate::deferred::tests::{CANCELLED, Number, NumberResolver, Oops, slot, taken, unhandled};
use crate::deferred::{CancelHandle, Deferred, Interrupt};
use crate::failure::Failure;
use crate::rng::Rng;
use crate::testing::TestReactor;

/// As many deferreds, and what fires them.
fn pending<const N: usize>() -> ([Number; N], [Option<NumberResolver>; N]) {
    let mut resolvers = [const { None }; N];
    let deferreds = std::array::from_fn(|index| {
        let (deferred, resolver) = Number::new();
        resolvers[index] = Some(resolver);
        deferred
    });
    (deferreds, resolvers)
}

fn fire<const N: usize>(
    resolvers: &mut [Option<NumberResolver>; N],
    index: usize,
    result: Result<i64, Oops>,
) {
    resolvers[index].take().unwrap().finish(result);
}

#[test]
fn a_list_has_all_results_in_input_order() {
    let (inputs, mut resolvers) = pending::<3>();
    let all = list(inputs);
    fire(&mut resolvers, 2, Ok(3));
    fire(&mut resolvers, 0, Err(Oops::Own(1)));
    assert!(!all.is_ready());
    fire(&mut resolvers, 1, Ok(2));
    assert_eq!(taken(all), Ok(vec![Err(Oops::Own(1)), Ok(2), Ok(3)]));
}

#[test]
fn errors_in_a_list_are_not_logged() {
    let reports = unhandled(|| {
        drop(list([Number::failed(Oops::Own(1)), Number::ready(1)]));
        let (inputs, mut resolvers) = pending::<2>();
        drop(list(inputs));
        fire(&mut resolvers, 0, Err(Oops::Own(1)));
        fire(&mut resolvers, 1, Err(Oops::Own(2)));
    });
    assert_eq!(reports, []);
}

#[test]
fn without_inputs_all_of_them_are_there_and_none_of_them_is_first() {
    let none = || Vec::<Number>::new();
    assert_eq!(taken(list(none())), Ok(vec![]));
    assert_eq!(taken(gather(none())), Ok(vec![]));
    assert_eq!(taken(gather_with(none(), Rest::Cancel)), Ok(vec![]));
    let error = taken(race(none())).unwrap_err();
    assert_eq!(error.errors(), []);
    assert_eq!(error.to_string(), "nothing to choose from");
    assert!(taken(first_value(none(), Rest::RunOn)).unwrap_err().into_errors().is_empty());
}

#[test]
fn inputs_that_are_ready_make_a_result_that_is_ready() {
    let ready = || [1, 2].map(Number::ready);
    assert_eq!(taken(list(ready())), Ok(vec![Ok(1), Ok(2)]));
    assert_eq!(taken(gather(ready())), Ok(vec![1, 2]));
    assert_eq!(taken(race(ready())), Ok((0, 1)));
    assert_eq!(taken(join((Number::ready(1), Number::ready(2)))), Ok((1, 2)));
}

#[test]
fn gather_has_the_values_in_input_order() {
    let (inputs, mut resolvers) = pending::<3>();
    let all = gather(inputs).map(|values| values.iter().sum::<i64>());
    for index in [1, 2, 0] {
        assert!(!all.is_ready());
        fire(&mut resolvers, index, Ok(10_i64.pow(index as u32)));
    }
    assert_eq!(taken(all), Ok(111));
}

#[test]
fn gather_fails_at_once_with_the_error_as_it_is_and_leaves_the_rest_alone() {
    let (inputs, mut resolvers) = pending::<3>();
    let all = gather(inputs);
    fire(&mut resolvers, 0, Ok(0));
    fire(&mut resolvers, 1, Err(Oops::Own(1)));
    assert_eq!(taken(all), Err(Oops::Own(1)));
    assert!(!resolvers[2].as_ref().unwrap().is_cancelled());
    let reports = unhandled(|| fire(&mut resolvers, 2, Ok(2)));
    assert_eq!(reports, []);
}

#[test]
fn an_error_after_the_first_is_logged_with_its_way() {
    let (inputs, mut resolvers) = pending::<2>();
    let all = gather(inputs);
    let line = line!() - 1;
    fire(&mut resolvers, 1, Err(Oops::Own(1)));
    let reports = unhandled(|| fire(&mut resolvers, 0, Err(Oops::Own(2))));
    let [report] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(report.error, "oops 2");
    assert!(report.created.line() < 40, "where the input was made: {report}");
    assert_eq!(report.hops.iter().map(|hop| hop.line()).collect::<Vec<_>>(), [line]);
    assert_eq!(taken(all), Err(Oops::Own(1)));
    // Those that are ready, too.
    let reports = unhandled(|| gather([1, 2, 3].map(|n| Number::failed(Oops::Own(n)))).ignore());
    assert_eq!(
        reports.iter().map(|report| &*report.error).collect::<Vec<_>>(),
        ["oops 2", "oops 3"]
    );
}

#[test]
fn the_rest_can_be_ignored_or_cancelled() {
    for rest in [Rest::Ignore, Rest::Cancel] {
        let (inputs, mut resolvers) = pending::<3>();
        let all = gather_with(inputs, rest);
        let reports = unhandled(|| {
            fire(&mut resolvers, 1, Err(Oops::Own(1)));
            for index in [0, 2] {
                let resolver = resolvers[index].as_ref().unwrap();
                assert_eq!(resolver.is_cancelled(), rest == Rest::Cancel);
                fire(&mut resolvers, index, Err(Oops::Own(2)));
            }
        });
        assert_eq!(reports, []);
        let error = taken(all).unwrap_err();
        assert_eq!((error.index(), error.error()), (Some(1), &Oops::Own(1)));
        assert_eq!(error.to_string(), "input 1: oops 1");
        assert_eq!(error.into_error(), Oops::Own(1));
    }
}

#[test]
fn the_rest_of_a_combination_that_is_decided_from_the_start_is_cancelled_too() {
    let (inputs, resolvers) = pending::<2>();
    let [first, last] = inputs;
    let fastest = race([first, Number::ready(1), last]);
    assert!(resolvers.iter().all(|resolver| resolver.as_ref().unwrap().is_cancelled()));
    assert_eq!(taken(fastest), Ok((1, 1)));
}

#[test]
fn cancelling_cancels_every_input_and_afterwards_nothing() {
    let (inputs, resolvers) = pending::<3>();
    let all = list(inputs);
    all.cancel();
    assert!(resolvers.iter().all(|resolver| resolver.as_ref().unwrap().is_cancelled()));
    assert_eq!(taken(all), Ok(vec![Err(CANCELLED); 3]));

    let (inputs, mut resolvers) = pending::<2>();
    let all = gather(inputs);
    let handle = all.cancel_handle();
    fire(&mut resolvers, 0, Err(Oops::Own(1)));
    handle.cancel();
    all.cancel();
    assert!(!resolvers[1].as_ref().unwrap().is_cancelled());
    assert_eq!(taken(all), Err(Oops::Own(1)));
}

#[test]
fn a_cancelled_combination_logs_no_error_but_its_own() {
    let (inputs, _resolvers) = pending::<3>();
    let reports = unhandled(|| {
        let all = gather(inputs);
        all.cancel();
        assert_eq!(taken(all), Err(CANCELLED));
    });
    assert_eq!(reports, []);
    let (inputs, _resolvers) = pending::<3>();
    let reports = unhandled(|| {
        let fastest = race(inputs);
        fastest.cancel();
        assert_eq!(taken(fastest).unwrap_err().into_errors(), [CANCELLED, CANCELLED, CANCELLED]);
    });
    assert_eq!(reports, []);
}

#[test]
fn whatever_waits_for_a_cancelled_combination_runs_when_all_inputs_have_heard() {
    let (seen, see) = slot();
    let inputs: Vec<_> = (0..3)
        .map(|index| {
            let see = see.clone();
            Number::with_canceller(move || see(index))
        })
        .collect();
    let (inputs, _resolvers): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
    let all = gather(inputs).or_else(move |_| {
        see(9);
        Ok::<_, Oops>(vec![])
    });
    all.cancel();
    assert_eq!(*seen.borrow(), [0, 1, 2, 9]);
    assert_eq!(taken(all), Ok(vec![]));
}

#[test]
fn the_losers_of_a_race_are_cancelled_before_the_chain_goes_on() {
    let (seen, see) = slot();
    let see_too = see.clone();
    let (loser, _kept) = Number::with_canceller(move || see_too("cancelled"));
    let (winner, resolver) = Number::new();
    let end = race([loser, winner]).map(move |_| see("won"));
    resolver.resolve(1);
    assert_eq!(*seen.borrow(), ["cancelled", "won"]);
    assert_eq!(taken(end), Ok(()));
}

#[test]
fn an_input_that_answers_its_cancelling_with_a_value_counts() {
    let (inputs, _resolvers) = pending::<1>();
    let [first] = inputs;
    let answering = || {
        let resolver = Rc::new(Cell::new(None::<NumberResolver>));
        let kept = Rc::clone(&resolver);
        let (deferred, new) = Number::with_canceller(move || kept.take().unwrap().resolve(7));
        resolver.set(Some(new));
        deferred
    };
    let fastest = race([first, answering()]);
    fastest.cancel();
    assert_eq!(taken(fastest), Ok((1, 7)));
    // But not once the race has been won.
    assert_eq!(taken(race([Number::ready(1), answering()])), Ok((0, 1)));
    assert_eq!(taken(race([answering(), Number::ready(1)])), Ok((1, 1)));
}

#[test]
fn a_cancelled_list_waits_for_inputs_that_go_on_and_can_be_cancelled_again() {
    for added in [false, true] {
        let (cleaning, cleaned) = Number::new();
        let (working, _resolver) = Number::new();
        let cleaning = Cell::new(Some(cleaning));
        let input = working.or_then(move |_: Oops| cleaning.take().unwrap());
        let all = list([input, Number::ready(1)]);
        // With and without a step between.
        let all = if added { all.map(|results| results) } else { all };
        let reports = unhandled(|| all.cancel());
        assert_eq!(reports, []);
        assert!(!all.is_ready());
        if added {
            all.cancel();
            assert!(cleaned.is_cancelled());
            assert_eq!(taken(all), Ok(vec![Err(CANCELLED), Ok(1)]));
        } else {
            cleaned.resolve(5);
            assert_eq!(taken(all), Ok(vec![Ok(5), Ok(1)]));
        }
    }
}

#[test]
fn a_race_that_is_cancelled_by_a_loser_after_it_was_won_is_won() {
    let handle = Rc::new(RefCell::new(CancelHandle::default()));
    let its = Rc::clone(&handle);
    let (loser, _kept) = Number::with_canceller(move || {
        let handle = its.borrow().clone();
        handle.cancel();
    });
    let (winner, resolver) = Number::new();
    let fastest = race([loser, winner]);
    *handle.borrow_mut() = fastest.cancel_handle();
    resolver.resolve(1);
    assert_eq!(taken(fastest), Ok((1, 1)));
}

#[test]
fn a_race_is_won_by_the_first_value_and_no_error_is_logged() {
    let (inputs, mut resolvers) = pending::<3>();
    let reports = unhandled(|| {
        let fastest = race(inputs);
        fire(&mut resolvers, 0, Err(Oops::Own(1)));
        fire(&mut resolvers, 2, Ok(2));
        fire(&mut resolvers, 1, Err(Oops::Own(3)));
        assert_eq!(taken(fastest), Ok((2, 2)));
    });
    assert_eq!(reports, []);
}

#[test]
fn a_race_that_all_lose_has_their_errors_in_input_order() {
    let (inputs, mut resolvers) = pending::<3>();
    let fastest = race(inputs);
    for index in [2, 0, 1] {
        fire(&mut resolvers, index, Err(Oops::Own(index as i64)));
    }
    let group = taken(fastest).unwrap_err();
    assert_eq!(group.errors(), [Oops::Own(0), Oops::Own(1), Oops::Own(2)]);
    assert_eq!(group.to_string(), "all 3 failed: oops 0; oops 1; oops 2");
    let many = taken(race((0..10).map(|n| Number::failed(Oops::Own(n))))).unwrap_err();
    assert!(many.to_string().ends_with("; oops 7; and 2 more"), "{many}");
}

#[test]
fn the_first_value_leaves_the_others_running() {
    let (inputs, mut resolvers) = pending::<3>();
    let first = first_value(inputs, Rest::RunOn);
    fire(&mut resolvers, 1, Ok(1));
    assert_eq!(taken(first), Ok((1, 1)));
    assert!(!resolvers[0].as_ref().unwrap().is_cancelled());
    let reports = unhandled(|| {
        fire(&mut resolvers, 0, Err(Oops::Own(1)));
        fire(&mut resolvers, 2, Ok(3));
    });
    assert_eq!(reports.len(), 1);
}

#[test]
fn join_keeps_each_type_and_fails_with_the_first_error() {
    let (text, resolver) = Deferred::<String, Oops>::new();
    let joined = join((Number::ready(1), text, Deferred::<_, Oops>::ready(2.5)));
    assert!(!joined.is_ready());
    resolver.resolve("x".into());
    assert_eq!(taken(joined), Ok((1, "x".into(), 2.5)));

    let (text, resolver) = Deferred::<String, Oops>::new();
    let joined = join((text, Number::failed(Oops::Own(1))));
    assert!(!resolver.is_cancelled());
    assert_eq!(taken(joined), Err(Oops::Own(1)));
    resolver.resolve("late".into());

    let six = join((
        Number::ready(1),
        Number::ready(2),
        Number::ready(3),
        Number::ready(4),
        Number::ready(5),
        Number::ready(6),
    ));
    assert_eq!(taken(six), Ok((1, 2, 3, 4, 5, 6)));
}

#[test]
fn all_inputs_are_taken_before_one_is_looked_at() {
    let (seen, see) = slot();
    let inputs = (0..3).map(|n| {
        see(n);
        Number::ready(n)
    });
    assert_eq!(taken(race(inputs)), Ok((0, 0)));
    assert_eq!(*seen.borrow(), [0, 1, 2]);
}

#[test]
fn an_input_that_fires_others_and_drops_the_output_is_no_trouble() {
    let (inputs, mut resolvers) = pending::<3>();
    let mut others = resolvers[1..].iter_mut().map(|r| r.take().unwrap()).collect::<Vec<_>>();
    let (seen, see) = slot();
    let output = Rc::new(Cell::new(None));
    let mine = Rc::clone(&output);
    let [first, second, third] = inputs;
    let first = first.map(move |value| {
        others.pop().unwrap().resolve(3);
        others.pop().unwrap().resolve(2);
        drop(mine.take());
        value
    });
    output.set(Some(list([first, second, third]).map(see)));
    fire(&mut resolvers, 0, Ok(1));
    assert_eq!(*seen.borrow(), [[Ok(1), Ok(2), Ok(3)]]);
}

#[test]
fn a_panic_in_a_canceller_or_in_a_drop_ends_that_input_alone() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new("boom"));
        }
    }
    let (canceller, _kept) = Number::with_canceller(|| resume_unwind(Box::new("boom")));
    let (quiet, resolver) = Number::new();
    let all = list([canceller, quiet]);
    all.cancel();
    assert!(resolver.is_cancelled());
    let panicked = Err(Oops::Interrupted(Interrupt::Panicked("boom".into())));
    assert_eq!(taken(all), Ok(vec![panicked, Err(CANCELLED)]));

    // A value that came before the error, and one after it.
    let (last, resolver) = Deferred::<Bomb, Oops>::new();
    let all = gather([Deferred::ready(Bomb), Deferred::failed(Oops::Own(1)), last]);
    let reports = unhandled(|| resolver.resolve(Bomb));
    assert_eq!(reports[0].error, "panicked: boom");
    assert_eq!(taken(all).map(|_| ()), Err(Oops::Own(1)));
}

#[test]
fn inputs_nobody_fires_are_abandoned_and_so_is_the_list() {
    let (inputs, resolvers) = pending::<2>();
    let all = list(inputs);
    drop(resolvers);
    let abandoned = Err(Oops::Interrupted(Interrupt::Abandoned));
    assert_eq!(taken(all), Ok(vec![abandoned.clone(), abandoned]));
}

#[test]
fn a_step_after_a_race_can_panic_with_an_error_of_no_input() {
    let end = race([Number::ready(1)]).map(|_| -> i64 { resume_unwind(Box::new("boom")) });
    assert_eq!(taken(end).unwrap_err().to_string(), "panicked: boom");
    let end = gather_with([Number::ready(1)], Rest::RunOn)
        .map(|_| -> i64 { resume_unwind(Box::new("boom")) });
    assert_eq!(taken(end).unwrap_err().index(), None);
}

#[test]
fn combinations_are_awaited_and_their_errors_turn_into_failures() {
    let reactor = TestReactor::new();
    let task = reactor.spawn(async {
        let (slow, resolver) = Deferred::<i32>::new();
        resolver.resolve(1);
        let values = gather([slow, Deferred::ready(2)]).await?;
        let (index, value) = race([Deferred::<i32>::failed(Failure::msg("no"))]).await?;
        Ok::<_, Failure>((values, index, value))
    });
    let failure = reactor.result_of(task).unwrap().unwrap_err();
    assert_eq!(failure.to_string(), "no");
    assert_eq!(failure.check::<FailureGroup>().unwrap().errors().len(), 1);
}

#[test]
fn a_task_that_is_dropped_while_it_awaits_a_race_cancels_every_input() {
    let reactor = TestReactor::new();
    let (inputs, resolvers) = pending::<2>();
    let task = reactor.spawn(race(inputs));
    reactor.turn_until_idle();
    assert!(!resolvers[0].as_ref().unwrap().is_cancelled());
    task.cancel();
    reactor.turn_until_idle();
    assert!(resolvers.iter().all(|resolver| resolver.as_ref().unwrap().is_cancelled()));
    task.ignore();
}

#[test]
fn a_million_inputs_need_no_more_stack_than_one() {
    const MILLION: usize = 1_000_000;
    let work = || {
        let (inputs, resolvers): (Vec<_>, Vec<_>) = (0..MILLION).map(|_| Number::new()).unzip();
        let all = gather(inputs);
        for resolver in resolvers {
            resolver.resolve(1);
        }
        assert_eq!(taken(all).unwrap().len(), MILLION);
        let (inputs, resolvers): (Vec<_>, Vec<_>) = (0..MILLION).map(|_| Number::new()).unzip();
        let fastest = race(inputs);
        fastest.cancel();
        assert_eq!(taken(fastest).unwrap_err().errors().len(), MILLION);
        drop(resolvers);
    };
    thread::Builder::new().stack_size(64 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn a_hundred_combinations_within_each_other_take_a_megabyte_of_stack_at_most() {
    let work = || {
        let (mut inner, resolver) = Number::new();
        for _ in 0..100 {
            inner = gather([inner]).map(|values| values[0] + 1);
        }
        resolver.resolve(0);
        assert_eq!(taken(inner), Ok(100));
    };
    thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
}

/// Inputs that are ready, that have values and that fail; fired in random order, and cancelled at any moment.
#[test]
fn random_combinations_come_to_what_a_plain_model_says() {
    for seed in 0..5_000 {
        let mut rng = Rng::from_number(seed);
        let count = 1 + rng.below(6) as usize;
        let results: Vec<Result<i64, Oops>> = (0..count)
            .map(|n| if rng.below(3) > 0 { Ok(n as i64) } else { Err(Oops::Own(n as i64)) })
            .collect();
        let ready: Vec<_> = (0..count).map(|_| rng.below(4) == 0).collect();
        let mut order: Vec<_> = (0..count).filter(|&n| !ready[n]).collect();
        for n in (1..order.len()).rev() {
            order.swap(n, rng.below(n as u64 + 1) as usize);
        }
        // After so many have been fired, the combination is cancelled.
        let stop = rng.below(2 * count as u64) as usize;
        let kind = rng.below(3);

        let mut resolvers: Vec<Option<NumberResolver>> = (0..count).map(|_| None).collect();
        let inputs: Vec<_> = (0..count)
            .map(|n| {
                if ready[n] {
                    return Number::from_result(results[n].clone());
                }
                let (deferred, resolver) = Number::new();
                resolvers[n] = Some(resolver);
                deferred
            })
            .collect();
        let came = (0..count).filter(|&n| ready[n]).chain(order.iter().copied().take(stop));
        let came: Vec<_> = came.collect();
        let all: Vec<Result<i64, Oops>> = (0..count)
            .map(|n| if came.contains(&n) { results[n].clone() } else { Err(CANCELLED) })
            .collect();
        let first = |good: bool| came.iter().copied().find(|&n| results[n].is_ok() == good);
        let mut run = |cancel: &dyn Fn()| {
            for &n in order.iter().take(stop) {
                resolvers[n].take().unwrap().finish(results[n].clone());
            }
            cancel();
        };
        let reports = unhandled(|| match kind {
            0 => {
                let end = list(inputs);
                run(&|| end.cancel());
                assert_eq!(taken(end), Ok(all), "seed {seed}");
            }
            1 => {
                let end = gather_with(inputs, Rest::Ignore);
                run(&|| end.cancel());
                let expected = match first(false).or_else(|| (0..count).find(|n| !came.contains(n)))
                {
                    None => Ok(results.iter().flatten().copied().collect()),
                    Some(n) => Err((Some(n), all[n].clone().unwrap_err())),
                };
                let end = taken(end).map_err(|error| (error.index(), error.into_error()));
                assert_eq!(end, expected, "seed {seed}");
            }
            _ => {
                let end = race(inputs);
                run(&|| end.cancel());
                let expected = match first(true) {
                    Some(n) => Ok((n, n as i64)),
                    None => Err(all.into_iter().map(Result::unwrap_err).collect()),
                };
                let end = taken(end).map_err(FailureGroup::into_errors);
                assert_eq!(end, expected, "seed {seed}");
            }
        });
        assert_eq!(reports, [], "seed {seed}");
    }
}
