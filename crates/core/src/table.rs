//! A dense table whose places carry a version: the home of the reactor's tasks and of all that the simulated network holds.
//! Insertion takes the place freed last, so the numbering depends on the calls alone.

use crate::driver::Handle;

/// Items under versioned indices; a key that was removed never finds the place's next item.
#[derive(Debug)]
pub(crate) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    version: u32,
    item: Option<T>,
}

impl<T> Table<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, item: T) -> Handle {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.item = Some(item);
            return Handle { index, version: slot.version };
        }
        let index = self.slots.len() as u32;
        self.slots.push(Slot { version: 0, item: Some(item) });
        Handle { index, version: 0 }
    }

    pub(crate) fn remove(&mut self, key: Handle) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.version != key.version {
            return None;
        }
        let item = slot.item.take()?;
        slot.version = slot.version.wrapping_add(1);
        self.free.push(key.index);
        Some(item)
    }

    pub(crate) fn get(&self, key: Handle) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.version == key.version { slot.item.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: Handle) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.version == key.version { slot.item.as_mut() } else { None }
    }

    /// All items, by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let key = Handle { index: index as u32, version: slot.version };
            slot.item.as_ref().map(|item| (key, item))
        })
    }

    /// All keys, by place: for loops that change what they walk over.
    pub(crate) fn keys(&self) -> Vec<Handle> {
        self.iter().map(|(key, _)| key).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_key_does_not_find_its_successor() {
        let mut table = Table::new();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&"second"));
        assert_eq!((table.len(), table.keys()), (1, vec![second]));
    }
}
