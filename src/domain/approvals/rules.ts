import * as z from 'zod'
import { NETWORK_TOOL } from '../network.ts'
import { ANY, type Kind, type Meter, matches, type Text } from './glob.ts'
import { splitCommand } from './split-command.ts'

const MAX_PATTERN = 200
const MAX_RULES = 64
const MAX_REASON = 500

const pattern = z.string().min(1).max(MAX_PATTERN)

/** What happens to a call. Each is stricter than those before it. */
const ACTIONS = ['allow', 'ask', 'deny'] as const
const Action = z.enum(ACTIONS)
type Action = z.infer<typeof Action>

const BY = ['anyone', 'other_than_starter'] as const

/** A rule for calls of tools. It holds for a call that fits all its conditions. */
export const ApprovalRule = z
  .strictObject({
    tool: pattern.exactOptional().describe('The name of the tool. `*` is any text'),
    command: pattern
      .exactOptional()
      .describe(
        'A command that the call runs, such as `git push *`. A command line is split, and each of its ' +
          'commands is compared',
      ),
    path: pattern
      .exactOptional()
      .describe(
        'A file that the call names, from the project: `*` stays within a folder, `**` does not. Commands name no files',
      ),
    mcp_server: pattern.exactOptional(),
    cost_above_usd: z
      .number()
      .nonnegative()
      .exactOptional()
      .describe(
        'The run has cost more than this since a person last allowed a call, or since it began',
      ),
    action: Action,
    by: z
      .enum(BY)
      .exactOptional()
      .describe('Who may answer. `other_than_starter`: not the token that started the run'),
    reason: z
      .string()
      .min(1)
      .max(MAX_REASON)
      .exactOptional()
      .describe('The person and the model read it'),
  })
  .refine(({ action, by }) => by === undefined || action === 'ask', {
    path: ['by'],
    message: 'is only for a rule with "action": "ask"',
  })
  .readonly()
export type ApprovalRule = z.infer<typeof ApprovalRule>

/** In order: the first that applies decides. If none applies, the call is allowed. */
export const ApprovalRules = z.array(ApprovalRule).max(MAX_RULES).readonly()
export type ApprovalRules = z.infer<typeof ApprovalRules>

/** A rule of the run, of the server that started it, or of the tool itself, by its place in the list. */
export const RuleName = z
  .strictObject({ of: z.enum(['run', 'server', 'tool']), index: z.int().nonnegative() })
  .readonly()
export type RuleName = z.infer<typeof RuleName>

/** The rule for people: "Rule 1 of the server". */
export const nameOfRule = ({ of, index }: RuleName): string => `Rule ${index + 1} of the ${of}`

/** Rules that nobody can change. */
const OF_TOOLS: ApprovalRules = [
  { tool: NETWORK_TOOL, action: 'ask', reason: 'It gives the commands of the run more network' },
]

/** The rule with this name; undefined if there is none. */
export const ruleNamed = (
  rules: Pick<RunRules, 'run' | 'server'> | undefined,
  { of, index }: RuleName,
): ApprovalRule | undefined => (of === 'tool' ? OF_TOOLS : rules?.[of])?.[index]

/** What a call works with, as its tool declares. Left out: nothing of that kind. */
export type Touches = {
  /** Files. Each has all its names, from the project: as the model wrote it, and where links lead. */
  readonly paths?: readonly (readonly string[])[]
  /** Folders with everything in them. */
  readonly trees?: readonly (readonly string[])[]
  /** For bash. Null is a command that is not known. */
  readonly commands?: readonly (string | null)[]
  readonly mcpServer?: string
}

/** A call before it begins. `touches` is null if that is not known: then every condition may hold. */
export type CallFacts = {
  readonly tool: string
  readonly touches: Touches | null
  /** US dollars since the last approval; null if that is not known. */
  readonly costUsd: number | null
}

export type Verdict = {
  readonly action: Action
  /** Null if no rule holds. */
  readonly rule: (RuleName & { readonly content: ApprovalRule }) | null
  /** Why the rule holds, although that is not certain. */
  readonly doubt: string | null
}

/** The rules of a run. `lifted` ask no more, because a person decided so. */
export type RunRules = {
  readonly run: ApprovalRules
  readonly server: ApprovalRules
  readonly lifted: readonly RuleName[]
}

/** One thing that a call does, which rules are compared with. */
type Deed = {
  /** All must match for a rule to hold surely; one, to hold perhaps. */
  readonly command?: Names
  readonly path?: Names
  readonly doubt: string | null
}
type Names = { readonly all: readonly Text[]; readonly others: readonly Text[] }

const UNKNOWN: Names = { all: [[ANY]], others: [] }

/** So many steps take some milliseconds: rules of a project must not keep the server from everything else. */
const MAX_STEPS = 1_000_000
/** What it costs to look at a rule, beside the comparison of its patterns. */
const STEPS_OF_A_RULE = 150

/**
 * The decision about a call: the strictest that the rules of the run or of the server make about anything that the call
 * does. What cannot be compared within the steps of the meter is not known.
 */
export function judge(
  call: CallFacts,
  { run, server, lifted }: RunRules,
  meter: Meter = { left: MAX_STEPS },
): Verdict {
  const lists = [
    { of: 'server', rules: server },
    { of: 'run', rules: run },
    { of: 'tool', rules: OF_TOOLS },
  ] as const
  const isLifted = (of: RuleName['of'], index: number) =>
    lifted.some((rule) => rule.of === of && rule.index === index)
  const verdictsOn = (deed: Deed, left: Meter): Verdict[] =>
    lists.flatMap(({ of, rules }) =>
      possibleRules(call, deed, rules, left).map(({ index, isSure }) => {
        const content = rules[index] as ApprovalRule
        const action = isLifted(of, index) ? 'allow' : content.action
        return { action, rule: { of, index, content }, doubt: isSure ? null : doubtOf(call, deed) }
      }),
    )
  const verdicts: Verdict[] = []
  for (const deed of deedsOf(call)) {
    const found = verdictsOn(deed, meter)
    const isOver = meter.left <= 0
    verdicts.push(
      ...(isOver ? verdictsOn(tooLong(call), { left: Number.POSITIVE_INFINITY }) : found),
    )
    if (isOver) break
  }
  return verdicts.reduce<Verdict>((a, b) => (strictness(b) > strictness(a) ? b : a), NO_RULE)
}

/** Anything that the call may do, because there is too much of it. */
function tooLong({ touches }: CallFacts): Deed {
  const { paths = [], trees = [], commands = [] } = touches ?? {}
  return {
    ...(commands.length > 0 ? { command: UNKNOWN } : {}),
    ...(paths.length + trees.length > 0 ? { path: UNKNOWN } : {}),
    doubt: 'it is too long to be compared with all rules',
  }
}

const NO_RULE: Verdict = { action: 'allow', rule: null, doubt: null }

/** A rule that only some people may answer is stricter than one that everybody may answer. */
const strictness = ({ action, rule }: Verdict): number =>
  ACTIONS.indexOf(action) * 2 + Number(rule?.content.by === 'other_than_starter')

const doubtOf = ({ touches }: CallFacts, { doubt }: Deed): string =>
  touches === null
    ? 'it is not known what this tool works with'
    : (doubt ?? 'it may run or touch more than it names')

/** All rules that may decide: those that perhaps apply, up to the first that surely applies. */
function possibleRules(call: CallFacts, deed: Deed, rules: ApprovalRules, meter: Meter) {
  const possible: { readonly index: number; readonly isSure: boolean }[] = []
  for (const [index, rule] of rules.entries()) {
    const held = holds(call, deed, rule, meter)
    if (held === 'no') continue
    possible.push({ index, isSure: held === 'surely' })
    if (held === 'surely') break
  }
  return possible
}

type Held = 'no' | 'maybe' | 'surely'

function holds(
  { tool, touches, costUsd }: CallFacts,
  deed: Deed,
  rule: ApprovalRule,
  meter: Meter,
): Held {
  meter.left -= STEPS_OF_A_RULE
  const server = touches === null ? UNKNOWN : named(touches.mcpServer)
  const isDear =
    rule.cost_above_usd === undefined || costUsd === null || costUsd > rule.cost_above_usd
  const conditions: readonly Held[] = [
    isDear ? 'surely' : 'no',
    compare(rule.tool, named(tool), { kind: 'name', doubt: null, meter }),
    compare(rule.mcp_server, server, { kind: 'name', doubt: null, meter }),
    compare(rule.command, deed.command, { kind: 'command', doubt: deed.doubt, meter }),
    compare(rule.path, deed.path, { kind: 'path', doubt: deed.doubt, meter }),
  ]
  if (conditions.includes('no')) return 'no'
  return conditions.includes('maybe') ? 'maybe' : 'surely'
}

const named = (name: string | undefined): Names | undefined =>
  name === undefined ? undefined : { all: [[name]], others: [] }

function compare(
  pattern: string | undefined,
  names: Names | undefined,
  how: { readonly kind: Kind; readonly doubt: string | null; readonly meter: Meter },
): Held {
  if (pattern === undefined) return 'surely'
  if (names === undefined) return 'no'
  const { all, others } = names
  const { kind, doubt, meter } = how
  const fits = (text: Text, sure: 'surely' | 'maybe') => matches(pattern, text, kind, sure, meter)
  if (doubt === null && all.every((text) => fits(text, 'surely'))) return 'surely'
  return [...all, ...others].some((text) => fits(text, 'maybe')) ? 'maybe' : 'no'
}

/** What a call does, one by one. A call that touches nothing is one deed, too. */
function deedsOf({ touches }: CallFacts): readonly Deed[] {
  if (touches === null) return [{ command: UNKNOWN, path: UNKNOWN, doubt: null }]
  const { paths = [], trees = [], commands = [] } = touches
  const deeds: readonly Deed[] = [
    ...paths.map((names) => ({
      path: { all: names.map((name) => [name]), others: [] },
      doubt: null,
    })),
    ...trees.map((names) => ({ path: { all: names.map(below), others: [] }, doubt: null })),
    ...commands.flatMap(commandDeeds),
  ]
  return deeds.length === 0 ? [{ doubt: null }] : deeds
}

const below = (folder: string): Text => (folder === '.' ? [ANY] : [`${folder}/`, ANY])

function commandDeeds(line: string | null): readonly Deed[] {
  if (line === null) return [{ command: UNKNOWN, doubt: 'files of the project say what it runs' }]
  const split = splitCommand(line)
  if ('doubt' in split) return [{ command: UNKNOWN, doubt: split.doubt }]
  return split.map(({ text, others, doubt }) => ({ command: { all: [text], others }, doubt }))
}
