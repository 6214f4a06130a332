// Finds what a TypeScript file imports, without a parser: comments, strings, templates and regular expressions are
// skipped as such, so that text that merely looks like an import does not count.

export interface Import {
  readonly specifier: string;
  /** Counts from 1. */
  readonly line: number;
  /** `import type …` and `export type …`, which leave nothing at run time. */
  readonly typeOnly: boolean;
}

/** What `scan` found: a word, a string literal's content, or one character of punctuation. */
interface Token {
  readonly kind: "word" | "string" | "punctuation";
  readonly text: string;
  readonly line: number;
}

/** Every static import and re-export, and every `import("…")` with a literal name, in the order of the file. */
export function findImports(source: string): Import[] {
  const tokens = scan(source);
  const found: Import[] = [];
  let keyword = -1; // index of the last `import` or `export` that may begin a statement
  tokens.forEach((token, i) => {
    const before = tokens[i - 1];
    if (token.kind === "word" && (token.text === "import" || token.text === "export") && before?.text !== ".") {
      keyword = i;
    }
    if (token.kind !== "string" || before === undefined) return;
    const isDynamic = before.text === "(" && tokens[i - 2]?.text === "import" && tokens[i - 3]?.text !== ".";
    const isStatic = before.kind === "word" && (before.text === "from" || before.text === "import");
    if (!isDynamic && !isStatic) return;
    const typeOnly = isStatic && keyword >= 0 && isTypeOnly(tokens.slice(keyword, i));
    found.push({ specifier: token.text, line: token.line, typeOnly });
  });
  return found;
}

/** Whether the tokens from `import` or `export` up to the specifier import types alone. */
function isTypeOnly(statement: readonly Token[]): boolean {
  const [, second, third] = statement;
  // `import type from "x"` imports a default export that is called type.
  if (second?.text === "type" && third?.text !== "from" && third?.text !== ",") return true;
  const open = statement.findIndex((t) => t.text === "{");
  if (open !== 1) return false; // a default or namespace import beside the braces, or no braces
  const names = statement.slice(open + 1, -2); // without the closing brace and `from`
  if (names.length === 0) return false;
  return names.every((t, i) => (i !== 0 && names[i - 1]?.text !== ",") || t.text === "type" || t.text === ",");
}

/** The words and string literals of a file outside of comments, joined: for searching its code. */
export function codeWords(source: string): readonly { readonly text: string; readonly line: number }[] {
  return scan(source).filter((t) => t.kind !== "string");
}

const WORD = /[\p{ID_Start}$_#][\p{ID_Continue}$]*/uy;
const NUMBER = /\d[\w.]*/y;
const SKIPPED = /\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\//y;
const STRING = /"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*'/y;
const REGEXP = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;
const TEMPLATE = /(?:[^`\\$]|\\[\s\S]|\$(?!\{))*/y;
/** After these words a slash begins a regular expression; after any other word it divides. */
const BEFORE_REGEXP = new Set([
  "return",
  "typeof",
  "case",
  "in",
  "of",
  "do",
  "else",
  "void",
  "delete",
  "throw",
  "await",
]);

function scan(source: string): Token[] {
  const tokens: Token[] = [];
  /** For each open template: how many braces are open inside its current `${`. */
  const templates: number[] = [];
  let at = 0;
  let line = 1;

  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0];
  };
  const advance = (text: string): void => {
    at += text.length;
    for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) line++;
  };
  const template = (): void => {
    advance(match(TEMPLATE) ?? "");
    if (source.startsWith("${", at)) {
      advance("${");
      templates.push(0);
    } else {
      advance("`");
    }
  };
  const slashBeginsRegExp = (): boolean => {
    const last = tokens.at(-1);
    if (last === undefined) return true;
    if (last.kind === "string") return false;
    if (last.kind === "word") return BEFORE_REGEXP.has(last.text);
    return !/[)\]}0-9]/.test(last.text);
  };
  const take = (kind: Token["kind"], text: string, content = text): void => {
    tokens.push({ kind, text: content, line });
    advance(text);
  };

  while (at < source.length) {
    const skipped = match(SKIPPED);
    if (skipped !== undefined) {
      advance(skipped);
      continue;
    }
    const char = source.charAt(at);
    const depth = templates.at(-1);
    const word = match(WORD);
    const text = char === '"' || char === "'" ? match(STRING) : undefined;
    if (word !== undefined) take("word", word);
    else if (text !== undefined) take("string", text, text.slice(1, -1));
    else if (char === "`") {
      tokens.push({ kind: "string", text: "", line });
      advance(char);
      template();
    } else if (char === "}" && depth === 0) {
      templates.pop();
      advance(char);
      template();
    } else if (char === "/" && slashBeginsRegExp() && match(REGEXP) !== undefined) {
      tokens.push({ kind: "string", text: "", line });
      advance(match(REGEXP) ?? char);
    } else {
      const number = match(NUMBER);
      if (number !== undefined) tokens.push({ kind: "punctuation", text: "0", line });
      else tokens.push({ kind: "punctuation", text: char, line });
      if (depth !== undefined && (char === "{" || char === "}")) {
        templates.push((templates.pop() ?? 0) + (char === "{" ? 1 : -1));
      }
      advance(number ?? char);
    }
  }
  return tokens;
}
