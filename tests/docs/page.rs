//! The Markdown of the repository: blocks of code with the comments about them, headings, links.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// Not ours, or not kept in the repository.
const NOT_WALKED: [&str; 3] = ["target", ".git", "node_modules"];

/// Begins a word to the tests, in an HTML comment that readers do not see.
const WORD: &str = "<!-- docs:";

/// One file.
pub struct Page {
    /// From the root of the repository.
    pub path: String,
    /// As it stands there.
    pub text: String,
    /// Steps that can be run or applied, in the order of the page.
    pub steps: Vec<Step>,
    /// Anchors, as forges make them from headings.
    pub anchors: Vec<String>,
    /// Headings with their level, without markup.
    pub headings: Vec<(u8, String)>,
    /// Targets of links, with their lines.
    pub links: Vec<(usize, String)>,
    /// Code within text, with its line.
    pub spans: Vec<(usize, String)>,
    /// Rows of tables: the code spans of the first cell, with the line.
    pub rows: Vec<Row>,
    /// The page wants a separate cluster, with nothing installed.
    pub own_cluster: bool,
}

/// A row of a table.
pub struct Row {
    pub line: usize,
    /// Heading that the table stands under.
    pub heading: String,
    /// Code spans of each cell.
    pub cells: Vec<Vec<String>>,
}

/// A block of code, or a scene to be set.
pub struct Step {
    /// First line, from 1.
    pub line: usize,
    pub what: What,
}

pub enum What {
    /// `tests/docs/scenes/<name>.sh` is run.
    Scene(String),
    Block(Block),
}

pub struct Block {
    /// The language after the fence.
    pub language: String,
    pub text: String,
    /// The words of the comment directly above.
    pub words: Vec<Word>,
}

/// A word about a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The block is not run, for this reason.
    NotRun(String),
    /// YAML that stands below this path of an `ArtifactConfig`.
    Fragment(String),
    /// YAML for `helm --values`.
    HelmValues,
    /// The last command ends with this status.
    Exits(i32),
}

/// Every Markdown file of the repository, by path.
pub fn all() -> Result<BTreeMap<String, Page>> {
    let root = root();
    let mut paths = Vec::new();
    walk(&root, &mut paths)?;
    paths.into_iter().map(|path| Page::read(&root, &path).map(|page| (page.path.clone(), page))).collect()
}

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() && !NOT_WALKED.contains(&name.as_str()) {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(())
}

impl Page {
    fn read(root: &Path, path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let path = path.strip_prefix(root)?.to_string_lossy().into_owned();
        Self::parse(path.clone(), &text).with_context(|| path)
    }

    pub fn parse(path: String, text: &str) -> Result<Self> {
        let mut reader = Reader { page: Self::empty(path, text.to_owned()), ..Reader::default() };
        let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
        for (event, range) in parser.into_offset_iter() {
            let line = text[..range.start].matches('\n').count() + 1;
            reader.event(event, line)?;
        }
        reader.no_words_left()?;
        Ok(reader.page)
    }

    fn empty(path: String, text: String) -> Self {
        Self {
            path,
            text,
            steps: Vec::new(),
            anchors: Vec::new(),
            headings: Vec::new(),
            links: Vec::new(),
            spans: Vec::new(),
            rows: Vec::new(),
            own_cluster: false,
        }
    }

    /// Blocks of code.
    pub fn blocks(&self) -> impl Iterator<Item = (usize, &Block)> {
        self.steps.iter().filter_map(|step| match &step.what {
            What::Block(block) => Some((step.line, block)),
            What::Scene(_) => None,
        })
    }

    /// Whether the page has steps for a cluster.
    pub fn is_story(&self) -> bool {
        self.steps.iter().any(|step| match &step.what {
            What::Scene(_) => true,
            What::Block(block) => block.is_applied() || block.is_run(),
        })
    }

    /// `path:line`, to be clicked at.
    pub fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
}

impl Block {
    pub fn is_shell(&self) -> bool {
        matches!(self.language.as_str(), "sh" | "bash" | "console")
    }

    pub fn is_run(&self) -> bool {
        self.is_shell() && !self.words.iter().any(|word| matches!(word, Word::NotRun(_)))
    }

    pub fn is_applied(&self) -> bool {
        self.language == "yaml"
    }

    /// The status that its last command ends with.
    pub fn status(&self) -> i32 {
        self.words
            .iter()
            .find_map(|word| if let Word::Exits(status) = word { Some(*status) } else { None })
            .unwrap_or(0)
    }

    /// The name of the file, where the block begins with a comment that is one.
    pub fn file(&self) -> Option<&str> {
        let first = self.text.lines().next()?.strip_prefix("# ")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        (first.contains('.') && first.chars().all(plain)).then_some(first)
    }
}

/// State between two events of the parser.
#[derive(Default)]
struct Reader {
    page: Page,
    /// Said, and waiting for the block that it is about.
    words: Vec<Word>,
    heading: Option<(u8, String)>,
    block: Option<(usize, Block)>,
    row: Option<Row>,
}

impl Default for Page {
    fn default() -> Self {
        Self::empty(String::new(), String::new())
    }
}

impl Reader {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<()> {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => self.comment(&html, line)?,
            Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => {}
            Event::Start(Tag::CodeBlock(kind)) => self.begin_block(&kind, line),
            Event::Start(tag) => self.start(tag, line)?,
            Event::End(end) => self.end(end),
            Event::Text(text) => match (&mut self.block, &mut self.heading) {
                (Some((_, block)), _) => block.text.push_str(&text),
                (None, Some((_, heading))) => heading.push_str(&text),
                _ => {}
            },
            Event::Code(code) => {
                if let Some((_, heading)) = &mut self.heading {
                    heading.push_str(&code);
                }
                if let Some(cell) = self.row.as_mut().and_then(|row| row.cells.last_mut()) {
                    cell.push(code.to_string());
                }
                self.page.spans.push((line, code.to_string()));
            }
            _ => {}
        }
        Ok(())
    }

    fn begin_block(&mut self, kind: &CodeBlockKind<'_>, line: usize) {
        let language = match kind {
            CodeBlockKind::Fenced(info) => info.to_string(),
            CodeBlockKind::Indented => String::new(),
        };
        let words = std::mem::take(&mut self.words);
        self.block = Some((line, Block { language, text: String::new(), words }));
    }

    fn start(&mut self, tag: Tag<'_>, line: usize) -> Result<()> {
        self.no_words_left()?;
        match tag {
            Tag::Heading { level, .. } => self.heading = Some((level as u8, String::new())),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.page.links.push((line, dest_url.to_string()));
            }
            Tag::TableRow => {
                let heading = self.page.headings.last().map(|(_, heading)| heading.clone());
                self.row = Some(Row { line, heading: heading.unwrap_or_default(), cells: Vec::new() });
            }
            Tag::TableCell => {
                if let Some(row) = &mut self.row {
                    row.cells.push(Vec::new());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, end: TagEnd) {
        match end {
            TagEnd::CodeBlock => {
                if let Some((line, block)) = self.block.take() {
                    self.page.steps.push(Step { line, what: What::Block(block) });
                }
            }
            TagEnd::Heading(_) => {
                if let Some((level, heading)) = self.heading.take() {
                    let anchor = self.anchor(&heading);
                    self.page.anchors.push(anchor);
                    self.page.headings.push((level, heading));
                }
            }
            TagEnd::TableRow => self.page.rows.extend(self.row.take()),
            _ => {}
        }
    }

    /// As GitHub and GitLab make it: lower case, only letters, digits, `-` and `_`, blanks as `-`, doubles numbered.
    fn anchor(&self, heading: &str) -> String {
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let base: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let same = |anchor: &&String| {
            **anchor == base
                || anchor.strip_prefix(&format!("{base}-")).is_some_and(|rest| rest.parse::<u32>().is_ok())
        };
        match self.page.anchors.iter().filter(same).count() {
            0 => base,
            doubles => format!("{base}-{doubles}"),
        }
    }

    fn comment(&mut self, html: &str, line: usize) -> Result<()> {
        let mut rest = html;
        while let Some((_, from)) = rest.split_once(WORD) {
            let (said, after) =
                from.split_once("-->").with_context(|| format!("line {line}: the comment does not end"))?;
            self.said(said.trim(), line)?;
            rest = after;
        }
        Ok(())
    }

    fn said(&mut self, said: &str, line: usize) -> Result<()> {
        let words: Vec<&str> = said.split_whitespace().collect();
        match words[..] {
            ["scene", name] => {
                self.no_words_left()?;
                self.page.steps.push(Step { line, what: What::Scene(name.to_owned()) });
            }
            ["own", "cluster"] => self.page.own_cluster = true,
            ["fragment", "of", path] => self.words.push(Word::Fragment(path.to_owned())),
            ["helm", "values"] => self.words.push(Word::HelmValues),
            ["exits", status] => self.words.push(Word::Exits(status.parse()?)),
            ["not", "run:", _, ..] => {
                let reason = said.split_once(':').map_or("", |(_, reason)| reason.trim());
                self.words.push(Word::NotRun(reason.to_owned()));
            }
            _ => bail!(
                "line {line}: nobody understands {said:?}; known are 'scene NAME', 'own cluster', 'fragment of PATH', 'helm values', 'exits STATUS' and 'not run: REASON'"
            ),
        }
        Ok(())
    }

    fn no_words_left(&self) -> Result<()> {
        ensure!(
            self.words.is_empty(),
            "{:?} is said of nothing: it must stand directly above a block",
            self.words
        );
        Ok(())
    }
}
