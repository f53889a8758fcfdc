//! Fan-out, panics, logging from inside, threads, the time before the beginning, levels.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use tracing::Level;

use super::*;
use crate::log::{History, Value};

fn event(text: &str) -> Event {
    Event::new(Level::INFO, "shop", text)
}

fn messages(history: &History) -> Vec<String> {
    history.events().into_iter().map(|event| event.message).collect()
}

/// Standard error, as a test can see it.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn on_paper() -> (Publisher, Paper) {
    let paper = Paper::default();
    (Publisher::with_early_errors_to(Box::new(paper.clone())), paper)
}

// ---- observers

#[test]
fn observers_are_called_in_the_order_they_were_added() {
    let publisher = Publisher::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    for name in ["one", "two", "three"] {
        let order = Arc::clone(&order);
        publisher.add(move |_: &Event| order.lock().unwrap().push(name));
    }
    publisher.publish(event("sold"));
    publisher.publish(event("sold"));
    assert_eq!(*order.lock().unwrap(), ["one", "two", "three", "one", "two", "three"]);
}

#[test]
fn a_removed_observer_gets_nothing_more_and_removing_it_again_does_nothing() {
    let (publisher, history) = (Publisher::new(), History::new(9));
    let id = publisher.add(history.clone());
    let other = publisher.add(|_: &Event| {});
    assert_ne!(id, other);
    publisher.publish(event("one"));
    assert!(publisher.remove(id));
    assert!(!publisher.remove(id));
    publisher.publish(event("two"));
    assert_eq!(messages(&history), ["one"]);
}

#[test]
fn observers_removed_and_added_from_inside_one_are_so_from_then_on() {
    let (publisher, late, removed) = (Publisher::new(), History::new(9), History::new(9));
    let (inside, added) = (publisher.clone(), late.clone());
    let target = Arc::new(Mutex::new(None));
    let to_remove = Arc::clone(&target);
    publisher.add(move |event: &Event| {
        if event.message == "swap" {
            assert!(inside.remove(to_remove.lock().unwrap().take().unwrap()));
            inside.add(added.clone());
        }
    });
    *target.lock().unwrap() = Some(publisher.add(removed.clone()));
    for text in ["before", "swap", "after"] {
        publisher.publish(event(text));
    }
    // It was to come after the one that removed it.
    assert_eq!(messages(&removed), ["before"]);
    assert_eq!(messages(&late), ["after"]);
}

#[test]
fn an_observer_may_remove_itself_and_log_when_it_is_dropped() {
    struct Once(Publisher, Arc<Mutex<Option<ObserverId>>>);
    impl Observer for Once {
        fn event(&mut self, _: &Event) {
            self.0.remove(self.1.lock().unwrap().unwrap());
        }
    }
    impl Drop for Once {
        fn drop(&mut self) {
            self.0.publish(event("farewell"));
            panic!("and more");
        }
    }
    let ((publisher, paper), history) = (on_paper(), History::new(9));
    let id = Arc::new(Mutex::new(None));
    *id.lock().unwrap() = Some(publisher.add(Once(publisher.clone(), Arc::clone(&id))));
    publisher.add(history.clone());
    publisher.publish(event("one"));
    publisher.publish(event("two"));
    assert_eq!(messages(&history), ["one", "farewell", "two"]);
    assert!(paper.text().contains("panicked when it was dropped: and more"), "{}", paper.text());
}

#[test]
fn a_panic_of_an_observer_is_told_to_the_others_alone_and_it_stays() {
    let ((publisher, _), before, after) = (on_paper(), History::new(9), History::new(9));
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    publisher.add(before.clone());
    publisher.add(move |event: &Event| {
        counter.fetch_add(1, Ordering::Relaxed);
        assert_eq!(event.message, "two");
    });
    publisher.add(after.clone());
    publisher.publish(event("one"));
    publisher.publish(event("two"));
    for history in [before, after] {
        let seen = history.events();
        assert_eq!(seen.len(), 3, "{seen:#?}");
        assert_eq!(seen[1].level, Level::ERROR);
        assert!(seen[1].message.starts_with("an observer of the log panicked: assertion"));
        assert_eq!(seen[1].value("observer"), Some(&Value::Int(1)));
        assert_eq!((&*seen[0].message, &*seen[2].message), ("one", "two"));
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn a_panic_of_the_only_observer_is_told_to_standard_error() {
    let (publisher, paper) = on_paper();
    publisher.add(|_: &Event| panic!("no ink"));
    publisher.publish(event("one"));
    let text = paper.text();
    assert!(text.contains("ERROR marline::log: an observer of the log panicked: no ink"), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn what_observers_log_reaches_the_others_afterwards_and_ends() {
    let (publisher, history) = (Publisher::new(), History::new(99));
    for name in ["left", "right"] {
        let inside = publisher.clone();
        // Two that log for each event they get would never come to an end, if they got what came of their own.
        publisher.add(move |heard: &Event| {
            inside.publish(event(&format!("{name} heard {}", heard.message)));
        });
    }
    publisher.add(history.clone());
    publisher.publish(event("it"));
    assert_eq!(
        messages(&history),
        [
            "it",
            "left heard it",
            "right heard it",
            "right heard left heard it",
            "left heard right heard it",
        ]
    );
}

#[test]
fn publishers_may_hand_events_to_each_other() {
    let (one, two) = (Publisher::new(), Publisher::new());
    let history = History::new(9);
    let (to_two, to_one) = (two.clone(), one.clone());
    one.add(move |event: &Event| to_two.publish(event.clone()));
    two.add(move |event: &Event| to_one.publish(event.clone()));
    one.add(history.clone());
    two.add(history.clone());
    one.publish(event("it"));
    // Directly; by `two`; and what came back to `one`, not again by way of the observer that had sent it off.
    assert_eq!(messages(&history), ["it", "it", "it"]);
}

#[test]
fn threads_publish_at_once_and_all_observers_see_one_order() {
    const THREADS: usize = 4;
    const EACH: usize = 200;
    let publisher = Publisher::new();
    let histories = [History::new(THREADS * EACH), History::new(THREADS * EACH)];
    for history in &histories {
        publisher.add(history.clone());
    }
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (publisher, start) = (&publisher, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..EACH {
                    publisher.publish(event(&format!("{thread} {number}")));
                }
            });
        }
    });
    let [one, two] = histories.map(|history| messages(&history));
    assert_eq!(one, two);
    assert_eq!(one.len(), THREADS * EACH);
    for thread in 0..THREADS {
        let prefix = format!("{thread} ");
        let own: Vec<_> = one.iter().filter_map(|text| text.strip_prefix(&prefix)).collect();
        assert_eq!(own, (0..EACH).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

// ---- before the beginning

#[test]
fn what_was_logged_early_is_replayed_in_order_and_then_goes_on() {
    let ((publisher, paper), history) = (on_paper(), History::new(9));
    publisher.publish(event("one"));
    publisher.publish(event("two"));
    publisher.begin(vec![Box::new(history.clone())]).unwrap();
    publisher.publish(event("three"));
    assert_eq!(messages(&history), ["one", "two", "three"]);
    assert_eq!(paper.text(), "");
}

#[test]
fn of_too_much_the_last_two_hundred_are_kept_and_the_rest_counted() {
    let (publisher, history) = (Publisher::new(), History::new(999));
    for number in 0..207 {
        publisher.publish(event(&number.to_string()));
    }
    publisher.begin(vec![Box::new(history.clone())]).unwrap();
    let events = history.events();
    assert_eq!(events[0].name, "early_events_dropped");
    assert_eq!(events[0].value("count"), Some(&Value::Int(7)));
    let kept: Vec<_> = events[1..].iter().map(|event| event.message.clone()).collect();
    assert_eq!(kept, (7..207).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn early_errors_are_written_to_standard_error_at_once_and_later_ones_are_not() {
    let (publisher, paper) = on_paper();
    publisher.publish(Event::new(Level::WARN, "shop", "nearly"));
    publisher.publish(Event::new(Level::ERROR, "shop", "on fire"));
    assert!(paper.text().ends_with("+00:00 ERROR shop: on fire\n"), "{}", paper.text());
    publisher.begin(Vec::new()).unwrap();
    publisher.publish(Event::new(Level::ERROR, "shop", "still on fire"));
    assert_eq!(paper.text().lines().count(), 1);
}

#[test]
fn a_second_beginning_says_where_the_first_was_and_gives_the_observers_back() {
    let (publisher, history) = (Publisher::new(), History::new(9));
    publisher.begin(Vec::new()).unwrap();
    let line = line!() - 1;
    let refused = publisher.begin(vec![Box::new(history.clone())]).unwrap_err();
    assert_eq!((refused.at.file(), refused.at.line()), (file!(), line));
    assert!(refused.to_string().contains(&format!("tests.rs:{line}:")));
    assert_eq!(refused.observers.len(), 1);
    publisher.publish(event("one"));
    assert_eq!(messages(&history), [""; 0]);
}

#[test]
fn what_was_added_before_the_beginning_hears_nothing_twice() {
    let (publisher, early, late) = (Publisher::new(), History::new(9), History::new(9));
    publisher.add(early.clone());
    publisher.publish(event("one"));
    publisher.begin(vec![Box::new(late.clone())]).unwrap();
    assert_eq!((messages(&early), messages(&late)), (vec!["one".into()], vec!["one".into()]));
}

#[test]
fn it_may_begin_inside_an_observer_which_still_does_not_hear_itself() {
    let (publisher, history) = (Publisher::new(), History::new(9));
    let (inside, added) = (publisher.clone(), history.clone());
    publisher.add(move |_: &Event| {
        if inside.begin(vec![Box::new(added.clone())]).is_ok() {
            inside.publish(event("begun"));
        }
    });
    publisher.publish(event("one"));
    assert_eq!(messages(&history), ["one", "begun"]);
}

// ---- tracing

/// Counts how often it is shown.
#[derive(Debug)]
struct Shown<'a>(&'a AtomicUsize);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fetch_add(1, Ordering::Relaxed);
        f.write_str("shown")
    }
}

#[test]
fn levels_decide_by_namespace_and_what_is_not_wanted_is_not_shown() {
    fn log_all(shown: &Shown<'_>) {
        tracing::debug!(target: "shop", "{shown}");
        tracing::info!(target: "shop::till", "{shown}");
        tracing::warn!(target: "shop::till", "{shown}");
    }
    let (publisher, history) = (Publisher::new(), History::new(99));
    let _installed = publisher.install_for_thread();
    publisher.add(history.clone());
    let count = AtomicUsize::new(0);
    log_all(&Shown(&count));
    assert_eq!((history.events().len(), count.load(Ordering::Relaxed)), (2, 2));
    // The same places, which have logged before and not: the answer they had is not kept.
    publisher.set_level("shop", LevelFilter::DEBUG);
    publisher.set_level("shop::till", LevelFilter::ERROR);
    log_all(&Shown(&count));
    assert_eq!((history.events().len(), count.load(Ordering::Relaxed)), (3, 3));
    assert_eq!(history.events()[2].level, Level::DEBUG);
    publisher.set_level("", LevelFilter::OFF);
    publisher.set_level("shop", LevelFilter::OFF);
    publisher.set_level("shop::till", LevelFilter::OFF);
    log_all(&Shown(&count));
    assert_eq!((history.events().len(), count.load(Ordering::Relaxed)), (3, 3));
    assert_eq!(publisher.level("shop::till::drawer"), LevelFilter::OFF);
}

#[test]
fn fields_keep_their_types_and_order() {
    let (publisher, history) = (Publisher::new(), History::new(9));
    let _installed = publisher.install_for_thread();
    publisher.add(history.clone());
    let error = io::Error::other("disk");
    let cause: &(dyn Error + 'static) = &error;
    tracing::info!(
        target: "shop", yes = true, least = i64::MIN, most = u64::MAX, wide = u128::MAX,
        half = 0.5, word = "hat", shown = %1, debug = ?Some("x"), cause, "sold {}", 2
    );
    let event = &history.events()[0];
    let text = |text: &str| Value::Text(text.to_owned());
    let expected = [
        ("yes", Value::Bool(true)),
        ("least", Value::Int(i64::MIN.into())),
        ("most", Value::Int(u64::MAX.into())),
        ("wide", text(&u128::MAX.to_string())),
        ("half", Value::Float(0.5)),
        ("word", text("hat")),
        ("shown", text("1")),
        ("debug", text("Some(\"x\")")),
        ("cause", text("disk")),
    ];
    assert_eq!(event.fields, expected);
    assert_eq!((&*event.message, &*event.target), ("sold 2", "shop"));
    assert!(event.name.contains("tests.rs"), "{}", event.name);
}

#[test]
fn a_value_that_cannot_be_shown_is_told_of_in_its_place() {
    struct Bad(bool);
    impl fmt::Display for Bad {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half ")?;
            if self.0 { panic!("no words") } else { Err(fmt::Error) }
        }
    }
    let (publisher, history) = (Publisher::new(), History::new(9));
    let _installed = publisher.install_for_thread();
    publisher.add(history.clone());
    tracing::info!(bad = %Bad(true), other = %Bad(false), "fine: {}", Bad(false));
    let event = &history.events()[0];
    assert_eq!(event.message, "fine: half (cannot be shown)");
    assert_eq!(event.field("bad").unwrap(), "half (cannot be shown: no words)");
    assert_eq!(event.field("other").unwrap(), "half (cannot be shown)");
}

#[test]
fn spans_do_no_harm() {
    let (publisher, history) = (Publisher::new(), History::new(9));
    let _installed = publisher.install_for_thread();
    publisher.add(history.clone());
    let span = tracing::info_span!("work", step = 1);
    span.in_scope(|| tracing::info!("inside"));
    assert_eq!(messages(&history), ["inside"]);
}
