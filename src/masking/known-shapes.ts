import { type Finder, type Found, literally, properPrefixes, startOfPrefix } from './finder.ts'

/** A kind of secret that is recognized by its shape. */
type Rule = {
  /** Its mask is `[masked:<kind>]`. */
  readonly kind: string
  /** Every secret of this kind begins with one of these. */
  readonly starts: readonly string[]
  /** If one of these characters comes right before it, it is something else: `task-…` is not `sk-…`. */
  readonly notAfter?: RegExp
  /** The secret from its first character on. A group named `keep` is a beginning that stays readable. */
  readonly shape: RegExp
}

/** What separates the name of a setting or a header from its value, also within JSON that is quoted in JSON. */
const IS = String.raw`(?:\\{0,3}["'])?[ \t]{0,8}[:=][ \t]{0,8}(?:\\{0,3}["'])?`
const LETTER_OR_DIGIT = /[A-Za-z0-9]/

function rule(kind: string, starts: readonly string[], shape: RegExp): Rule {
  return { kind, starts, shape: new RegExp(shape.source, `${shape.flags}y`) }
}

function alone(kind: string, starts: readonly string[], shape: RegExp): Rule {
  return { ...rule(kind, starts, shape), notAfter: LETTER_OR_DIGIT }
}

/**
 * All secrets with a known shape. Every shape is bounded, matches within one line (private keys have a finder of their
 * own), and holds no quote or backslash, so that JSON stays JSON. A match depends on one character after it at most.
 */
export const RULES: readonly Rule[] = [
  rule('retrai-token', ['retrai_'], /retrai_[\w-]{43}/),
  alone('aws-access-key', ['AKIA', 'ASIA', 'ABIA', 'ACCA'], /A[A-Z]{3}[A-Z2-7]{16}/),
  rule(
    'aws-secret-key',
    ['aws_secret_access_key', 'AWS_SECRET_ACCESS_KEY', 'SecretAccessKey', 'secretAccessKey'],
    new RegExp(`(?<keep>\\w{15,21}${IS})[A-Za-z0-9/+]{40}`),
  ),
  rule(
    'github-token',
    ['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_', 'github_pat_'],
    /(?:gh[pousr]|github_pat)_(?:\w|[.-](?=\w)){36,1000}/,
  ),
  rule(
    'gitlab-token',
    ['glpat-', 'gldt-', 'glrt-', 'glptt-', 'glft-', 'glsoat-', 'glcbt-', 'gloas-', 'glagent-'],
    /gl(?:pat|dt|rt|ptt|ft|soat|cbt|oas|agent)-(?:[\w-]|\.(?=\w)){20,400}/,
  ),
  rule(
    'slack-token',
    ['xoxa-', 'xoxb-', 'xoxc-', 'xoxd-', 'xoxe-', 'xoxo-', 'xoxp-', 'xoxr-', 'xoxs-', 'xapp-'],
    /(?:xox[abceoprs]-\d[A-Za-z0-9-]{9,500}|xoxd-[A-Za-z0-9%/+=-]{20,500}|xapp-\d-[A-Za-z0-9-]{20,500})/,
  ),
  rule(
    'slack-webhook',
    ['hooks.slack.com/'],
    /(?<keep>hooks\.slack\.com\/(?:services|workflows|triggers)\/)[\w/]{20,200}/,
  ),
  alone('anthropic-key', ['sk-'], /sk-ant-[\w-]{20,400}/),
  alone(
    'openai-key',
    ['sk-'],
    /sk-(?:(?:proj|svcacct|admin|service|None|or-v1)-[\w-]{20,400}|(?=[A-Za-z]{0,40}\d)[A-Za-z0-9]{20,400})/,
  ),
  alone('google-key', ['AIza'], /AIza[\w-]{35}/),
  alone('google-oauth-token', ['ya29.', 'GOCSPX-'], /(?:ya29\.[\w-]{20,2000}|GOCSPX-[\w-]{28})/),
  alone(
    'stripe-key',
    ['sk_live_', 'sk_test_', 'rk_live_', 'rk_test_', 'whsec_'],
    /(?:[sr]k_(?:live|test)_[A-Za-z0-9]{16,300}|whsec_[A-Za-z0-9+/]{32,300})/,
  ),
  alone('npm-token', ['npm_'], /npm_[A-Za-z0-9]{36}/),
  rule('pypi-token', ['pypi-AgE'], /pypi-AgE[\w-]{50,2000}/),
  alone('huggingface-token', ['hf_', 'api_org_'], /(?:hf|api_org)_[A-Za-z0-9]{34,100}/),
  alone('groq-key', ['gsk_'], /gsk_[A-Za-z0-9]{48,100}/),
  alone('xai-key', ['xai-'], /xai-[A-Za-z0-9]{70,200}/),
  alone('perplexity-key', ['pplx-'], /pplx-[A-Za-z0-9]{40,200}/),
  alone('sendgrid-key', ['SG.'], /SG\.[\w-]{22}\.[\w-]{43}/),
  rule('digitalocean-token', ['dop_v1_', 'doo_v1_', 'dor_v1_'], /do[opr]_v1_[a-f0-9]{64}/),
  rule('docker-token', ['dckr_pat_'], /dckr_pat_[\w-]{27,100}/),
  alone('vault-token', ['hvs.', 'hvb.'], /hv[sb]\.[\w-]{24,400}/),
  rule('age-key', ['AGE-SECRET-KEY-1'], /AGE-SECRET-KEY-1[A-Z0-9]{58}/),
  rule('azure-key', ['AccountKey='], /(?<keep>AccountKey=)[A-Za-z0-9+/]{86}/),
  {
    ...rule('jwt', ['eyJ'], /eyJ[\w-]{10,2000}\.eyJ[\w-]{10,12000}\.[\w-]{16,2000}/),
    // All characters of a token, so that a long text of them is searched only once.
    notAfter: /[\w-]/,
  },
  // PKCS #8 of Ed25519 in Base64, as in the key files of this server: also without the lines around it.
  rule('private-key', ['MC4CAQAwBQYDK2VwBCIEI'], /MC4CAQAwBQYDK2VwBCIEI[A-Za-z0-9+/_-]{43}/),
  rule(
    'authorization',
    ['authorization', 'Authorization', 'AUTHORIZATION'],
    new RegExp(
      `(?<keep>authorization${IS}(?:(?:bearer|token)[ \\t]{1,8}(?=[\\w.~+/=-]{16})|basic[ \\t]{1,8}(?=[\\w+/=-]{8})))[\\w.~+/=-]{8,16000}`,
      'i',
    ),
  ),
  rule(
    'api-key-header',
    ['x-api-key', 'X-Api-Key', 'X-API-Key', 'X-API-KEY', 'x-goog-api-key', 'X-Goog-Api-Key'],
    new RegExp(`(?<keep>x-(?:goog-)?api-key${IS})[\\w.~+/=-]{16,2000}`, 'i'),
  ),
  rule(
    'url-password',
    ['://', ':\\/\\/'],
    /(?<keep>:\\?\/\\?\/[^\s:/?#@"'`<>\\[\]]{0,200}:)(?!\$[{(]|\$[A-Z_]{1,99}@|\{|%[sv(]|\*{1,99}@|\[masked:)[^\s/?#@"'`<>\\]{1,1000}(?=@)/,
  ),
]

/** The names of these kinds, sorted, for people. */
export const KINDS: readonly string[] = [...new Set(RULES.map(({ kind }) => kind))].sort()

const STARTS = [...new Set(RULES.flatMap(({ starts }) => starts))]
const ANY_START = new RegExp(STARTS.map(literally).join('|'), 'g')
const PREFIXES = properPrefixes(STARTS)

/** The rules for each start: a secret of any of them may begin there. */
const RULES_BY_START: ReadonlyMap<string, readonly Rule[]> = new Map(
  STARTS.map((found) => [
    found,
    RULES.filter(({ starts }) => starts.some((start) => found.startsWith(start))),
  ]),
)

/** What may come right before a secret, although it ends with a letter or digit: `\n`, `%3D`, a colour. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: codes for colours begin with one
const ESCAPE = /(?:\\[nrtbf]|%[0-9A-Fa-f]{2}|\x1b\[[0-9;]{0,12}m)$/
const ESCAPE_LENGTH = 16

/** Finds secrets by their shape. */
export const knownShapes: Finder = { find, undecided }

function find(text: string, from: number, edge: number): Found | null {
  for (let hit = nextStart(text, from); hit !== null; hit = nextStart(text, hit.index + 1)) {
    const found = secretAt(text, hit.index, hit[0], edge)
    if (found !== null) return found
  }
  return null
}

function nextStart(text: string, from: number): RegExpExecArray | null {
  ANY_START.lastIndex = from
  return ANY_START.exec(text)
}

function secretAt(text: string, at: number, literal: string, edge: number): Found | null {
  for (const { kind, shape, notAfter } of RULES_BY_START.get(literal) ?? []) {
    if (notAfter !== undefined && at !== edge && isPartOf(text, at, notAfter)) continue
    shape.lastIndex = at
    const match = shape.exec(text)
    if (match === null) continue
    const kept = match.groups?.keep?.length ?? 0
    return { start: at + kept, end: at + match[0].length, kind }
  }
  return null
}

function isPartOf(text: string, at: number, notAfter: RegExp): boolean {
  if (at === 0 || !notAfter.test(text.charAt(at - 1))) return false
  return !ESCAPE.test(text.slice(Math.max(0, at - ESCAPE_LENGTH), at))
}

/** Shapes match within one line, so everything before the last line is decided. */
function undecided(text: string, from: number): number {
  const line = Math.max(from, text.lastIndexOf('\n') + 1)
  if (line === text.length) return line
  return nextStart(text, line)?.index ?? startOfPrefix(text, line, PREFIXES)
}

/** How a private key in PEM or OpenPGP armour begins. What follows decides whether it is one. */
const ARMOUR = '-----BEGIN '
const ARMOUR_PREFIXES = properPrefixes([ARMOUR])
/** The longest first line of a private key, in characters. */
const LONGEST_HEADER_CHARS = 130

const LONGEST_KEY_CHARS = 20_000

const TYPE = '(?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----'
const HEADER = new RegExp(`${ARMOUR}${TYPE}`, 'y')
const FOOTER = new RegExp(`-----END ${TYPE}`)

/** Key material. Other text may come between its lines: names of files, the marks of a diff. */
const MATERIAL = /[A-Za-z0-9+/=]{32}/
/** What separates the lines of a key, also within strings of JSON or a program. */
const GAP = /(?:\s|\\{1,3}[nrt]|["',>|]){0,80}/y
const LINE =
  /[A-Za-z0-9+/=]{32,}(?![A-Za-z0-9+/=]|\\{0,3}["'] ?:)|(?:Proc-Type|DEK-Info|Version|Comment|Hash): [^\n\\"]{0,100}/y
/** What a colon follows is the next name in an object. */
const LAST_LINE = /[A-Za-z0-9+/=]{1,31}(?=$|[\r\n"'\\])(?!\\{0,3}["'] ?:)/y

/** Finds private keys, complete or cut off. */
export const privateKeys: Finder = {
  find: (text, from) => {
    for (let at = text.indexOf(ARMOUR, from); at !== -1; at = text.indexOf(ARMOUR, at + 1)) {
      const end = privateKeyEnd(text, at)
      if (end !== null) return { start: at, end, kind: 'private-key' }
    }
    return null
  },
  // Every key but the last ends before the next one begins. Most texts have none, and indexOf sees that faster.
  undecided: (text, from) => {
    const at = text.indexOf(ARMOUR, from) === -1 ? -1 : text.lastIndexOf(ARMOUR)
    return at >= from && isOpen(text, at) ? at : startOfPrefix(text, from, ARMOUR_PREFIXES)
  },
}

/** Whether a private key may begin at `at` and its end may still come. */
function isOpen(text: string, at: number): boolean {
  if (text.length >= at + LONGEST_KEY_CHARS) return false
  HEADER.lastIndex = at
  if (HEADER.test(text)) return !FOOTER.test(text.slice(HEADER.lastIndex))
  const line = text.slice(at, at + LONGEST_HEADER_CHARS)
  return line.length < LONGEST_HEADER_CHARS && !line.includes('\n')
}

/**
 * Where the private key ends that begins at `at`: after its last line or, if that is missing, as in the head of a file,
 * after the key material. Null without key material: the first line of a key alone is not a secret.
 */
function privateKeyEnd(text: string, at: number): number | null {
  HEADER.lastIndex = at
  if (!HEADER.test(text)) return null
  const start = HEADER.lastIndex
  const rest = text.slice(start, at + LONGEST_KEY_CHARS)
  const next = rest.indexOf(ARMOUR)
  const body = next === -1 ? rest : rest.slice(0, next)
  const footer = FOOTER.exec(body)
  if (footer !== null && MATERIAL.test(body.slice(0, footer.index))) {
    return start + footer.index + footer[0].length
  }
  const length = materialLength(body)
  return length === 0 ? null : start + length
}

function materialLength(body: string): number {
  let length = 0
  for (;;) {
    const line = skip(GAP, body, length) ?? length
    const end = skip(LINE, body, line)
    if (end === null) return length === 0 ? 0 : (skip(LAST_LINE, body, line) ?? length)
    length = end
  }
}

function skip(what: RegExp, text: string, at: number): number | null {
  what.lastIndex = at
  return what.test(text) ? what.lastIndex : null
}
