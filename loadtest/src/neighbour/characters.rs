//! The three neighbours and what they say.

/// One talking account.
#[derive(Debug)]
pub(super) struct Character {
    pub(super) username: &'static str,
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    /// What it says to a new follower.
    pub(super) welcome: &'static str,
    /// What it says to somebody who mentions it.
    pub(super) answers: &'static [&'static str],
    muse: fn(u64) -> String,
}

impl Character {
    /// Something to say, different for different numbers.
    pub(super) fn muse(&self, number: u64) -> String {
        (self.muse)(mixed(number))
    }

    /// An answer to a mention.
    pub(super) fn answer(&self, number: u64) -> &'static str {
        pick(self.answers, mixed(number))
    }
}

/// All of them.
pub(super) const CHARACTERS: [Character; 3] = [
    Character {
        username: "keeper",
        name: "The Lighthouse Keeper",
        summary: "<p>I keep the light on Gull Skerry and tell whoever listens about the weather.</p>",
        welcome: "Welcome ashore. I shall look out for your sails; the light is lit from dusk to dawn.",
        answers: &[
            "Heard you over the wind. The barometer agrees with you, for what it is worth.",
            "I wrote that into the log book, between the fog and the two seals.",
            "The lamp blinked twice when I read this. Or it was the fuse.",
        ],
        muse: weather,
    },
    Character {
        username: "ferry",
        name: "Skerry Ferry",
        summary: "<p>Departures, arrivals and excuses of the ferry to Gull Skerry.</p>",
        welcome: "You are now on the passenger list. Please keep your hands inside the boat.",
        answers: &[
            "Your question has been passed to the captain. The captain is fishing.",
            "Bicycles are carried free of charge, opinions at owner's risk.",
            "Yes, if the tide agrees. It usually does, twice a day.",
        ],
        muse: departure,
    },
    Character {
        username: "mog",
        name: "Mog",
        summary: "<p>Cat of the harbour office. Opens doors only from the wrong side.</p>",
        welcome: "You may stay. You may also bring fish.",
        answers: &[
            "No.",
            "I have knocked your message off the table. I may look at it later.",
            "Mrrp. That is all you get before breakfast.",
        ],
        muse: cat,
    },
];

fn weather(number: u64) -> String {
    let wind = pick(
        &["north", "north-east", "east", "south", "south-west", "west"],
        number,
    );
    let sea = pick(
        &["calm", "a little choppy", "rough", "like porridge"],
        number >> 8,
    );
    let sight = pick(
        &[
            "as far as the mainland",
            "two miles",
            "my own boots",
            "one seal",
        ],
        number >> 16,
    );
    let force = 1 + (number >> 24) % 8;
    format!("Wind {wind}, force {force}. Sea {sea}. Visibility: {sight}. #weather")
}

fn departure(number: u64) -> String {
    let (hour, minute) = (6 + number % 16, 5 * ((number >> 8) % 12));
    let fate = pick(
        &[
            "leaves on time",
            "leaves seven minutes late, there was a heron on the gangway",
            "is cancelled: low tide, high hopes",
            "is full; the next one has room for three and a dog",
        ],
        number >> 16,
    );
    format!("The {hour:02}:{minute:02} to Gull Skerry {fate}. #ferry")
}

fn cat(number: u64) -> String {
    let deed = pick(
        &[
            "Slept on the timetable. It is warmer than it is accurate.",
            "Inspected the fishing boat. Took a sample.",
            "The door was closed, so I wanted out. The door was opened, so I did not.",
            "Caught something. It was a rope. The rope had it coming.",
            "Sat in a box. The box is mine now. #caturday",
        ],
        number,
    );
    deed.to_owned()
}

fn pick(choices: &[&'static str], number: u64) -> &'static str {
    choices[(number % choices.len() as u64) as usize]
}

/// Spreads neighbouring numbers (the finaliser of SplitMix64).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nobody_says_the_same_thing_all_the_time() {
        for character in &CHARACTERS {
            let said: BTreeSet<String> = (0..50).map(|number| character.muse(number)).collect();
            assert!(said.len() >= 4, "{}: {said:?}", character.username);
            assert!(
                said.iter()
                    .all(|text| text.len() < 500 && !text.contains('<'))
            );
        }
    }
}
