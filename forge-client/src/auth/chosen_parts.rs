use super::AuthRequest;
use super::plan::{AuthPart, AuthPlan};

/// The parts of a plan that authenticate one request, in their order, and how many of them have been added to it.
pub(super) struct ChosenParts<'a> {
    parts: PartList<'a>,
    added: usize,
}

enum PartList<'a> {
    // Most plans have one part, and need no list.
    One(Option<&'a AuthPart>),
    Several(Vec<&'a AuthPart>),
}

impl<'a> ChosenParts<'a> {
    pub(super) fn of(plan: &'a AuthPlan, request: &AuthRequest<'_>) -> Self {
        let parts = match plan {
            AuthPlan::Part(part) => PartList::One(Some(part).filter(|part| part.applies_to(request))),
            plan => {
                let mut chosen = Vec::new();
                plan.choose(request, &mut chosen);
                PartList::Several(chosen)
            }
        };
        Self { parts, added: 0 }
    }

    /// The part to add next.
    pub(super) fn next(&self) -> Option<&'a AuthPart> {
        let parts = match &self.parts {
            PartList::One(part) => part.as_slice(),
            PartList::Several(parts) => parts,
        };
        parts.get(self.added).copied()
    }

    /// Notes that the part which [`next`](Self::next) returns was added.
    pub(super) fn mark_added(&mut self) {
        self.added += 1;
    }
}
