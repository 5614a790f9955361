//! Keys and values of a sequence, in pages of 16 positions.
//!
//! A page holds all layers of its positions, as halves, and once it is full nothing changes it: sequences that begin
//! with the same tokens share their full pages.

use std::sync::Arc;

use crate::config::Config;
use crate::kernels::Pages;
use crate::math::float_to_half;

/// Positions of a page: as many as a sum has lanes.
pub const PAGE: usize = 16;

/// Keys and values of 16 positions, in all layers.
#[derive(Clone)]
pub struct Page {
    /// For each layer and head, `head_len` groups of 16 positions.
    keys: Vec<u16>,
    /// For each layer and head, 16 positions of `head_len` numbers.
    values: Vec<u16>,
}

/// Numbers of one head in a page, and where each head begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    heads: usize,
    head_len: usize,
    layers: usize,
}

impl Form {
    fn head(self) -> usize {
        PAGE * self.head_len
    }

    fn layer(self) -> usize {
        self.heads * self.head()
    }
}

/// The tokens that a model has read of one text: what it needs of them to go on.
#[derive(Clone)]
pub struct Sequence {
    form: Form,
    pages: Vec<Arc<Page>>,
    len: usize,
}

impl std::fmt::Debug for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sequence of {} positions", self.len)
    }
}

impl Sequence {
    /// One of no tokens, for a model of this form.
    pub fn new(config: &Config) -> Self {
        let form = Form { heads: config.kv_heads, head_len: config.head_len, layers: config.layers };
        Self { form, pages: Vec::new(), len: 0 }
    }

    /// One that holds a single layer at a time, of a model with so many heads.
    pub(crate) fn of_one_layer(heads: usize, head_len: usize) -> Self {
        Self { form: Form { heads, head_len, layers: 1 }, pages: Vec::new(), len: 0 }
    }

    /// Tokens read.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where no token was read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory of one page of a model.
    pub fn page_bytes(config: &Config) -> usize {
        2 * 2 * PAGE * config.layers * config.kv_heads * config.head_len
    }

    /// The full pages, which never change again.
    pub fn full_pages(&self) -> &[Arc<Page>] {
        &self.pages[..self.len / PAGE]
    }

    /// Begins with pages of another sequence of the same tokens.
    ///
    /// # Panics
    ///
    /// The sequence is not empty, or the pages are of a model of another form.
    pub fn begin_with(&mut self, pages: &[Arc<Page>]) {
        assert!(self.is_empty(), "only an empty sequence can begin");
        let len = self.form.layers * self.form.layer();
        assert!(pages.iter().all(|page| page.keys.len() == len), "pages of the same model");
        self.pages = pages.to_vec();
        self.len = pages.len() * PAGE;
    }

    /// Forgets the tokens from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.pages.truncate(self.len.div_ceil(PAGE));
    }

    /// True for a sequence of a model of this form.
    pub(crate) fn fits(&self, config: &Config) -> bool {
        self.form == Self::new(config).form
    }

    /// Makes room for more tokens; what is shared is copied before it is written to.
    pub(crate) fn reserve(&mut self, tokens: usize) {
        let len = self.form.layers * self.form.layer();
        let pages = (self.len + tokens).div_ceil(PAGE);
        self.pages.resize_with(pages, || Arc::new(Page { keys: vec![0; len], values: vec![0; len] }));
        for page in &mut self.pages[self.len / PAGE..] {
            Arc::make_mut(page);
        }
    }

    /// Counts tokens that were written.
    pub(crate) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    /// One layer's new positions, for each head.
    pub(crate) fn writers(&mut self, layer: usize) -> Vec<Writer<'_>> {
        let (form, len) = (self.form, self.len);
        let first = len / PAGE;
        let mut writers: Vec<Writer<'_>> = (0..form.heads)
            .map(|head| Writer { head, first, head_len: form.head_len, pages: Vec::new() })
            .collect();
        for page in &mut self.pages[first..] {
            let page = Arc::get_mut(page).expect("`reserve` made the pages ours");
            let keys = page.keys[layer * form.layer()..][..form.layer()].chunks_exact_mut(form.head());
            let values = page.values[layer * form.layer()..][..form.layer()].chunks_exact_mut(form.head());
            for (writer, pair) in writers.iter_mut().zip(keys.zip(values)) {
                writer.pages.push(pair);
            }
        }
        writers
    }

    /// One head's keys and values in a layer.
    pub(crate) fn reader(&self, layer: usize, head: usize) -> Reader<'_> {
        let at = layer * self.form.layer() + head * self.form.head();
        Reader { pages: &self.pages, at, len: self.form.head() }
    }
}

/// Writes one head's keys and values.
pub struct Writer<'a> {
    /// The head.
    pub head: usize,
    first: usize,
    head_len: usize,
    pages: Vec<(&'a mut [u16], &'a mut [u16])>,
}

impl Writer<'_> {
    /// Writes the numbers of a new position.
    pub fn write(&mut self, position: usize, key: &[f32], value: &[f32]) {
        let (keys, values) = &mut self.pages[position / PAGE - self.first];
        let slot = position % PAGE;
        for (group, &x) in keys.chunks_exact_mut(PAGE).zip(key) {
            group[slot] = float_to_half(x);
        }
        for (half, &x) in values[slot * self.head_len..].iter_mut().zip(value) {
            *half = float_to_half(x);
        }
    }
}

/// Reads one head's keys and values.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    pages: &'a [Arc<Page>],
    at: usize,
    len: usize,
}

impl Pages for Reader<'_> {
    #[inline(always)]
    fn keys(&self, page: usize) -> &[u16] {
        &self.pages[page].keys[self.at..][..self.len]
    }

    #[inline(always)]
    fn values(&self, page: usize) -> &[u16] {
        &self.pages[page].values[self.at..][..self.len]
    }
}
