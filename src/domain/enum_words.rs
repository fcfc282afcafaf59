//! `enum_words!`: an enum whose values have fixed words, such as label values.

macro_rules! enum_words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word of every value, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word used as a label value.
            pub const fn as_str(self) -> &'static str {
                Self::WORDS[self.index()]
            }

            /// Position in `ALL` and `WORDS`.
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The value of a word.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }
    };
}
pub(crate) use enum_words;
