import * as z from 'zod'
import { NETWORK_TOOL } from '../network.ts'
import { ANY, type Kind, matches, type Text } from './glob.ts'
import { splitCommand } from './split-command.ts'

const MAX_RULES = 64
const MAX_REASON = 500

const pattern = z.string().min(1).max(200)

/** What happens to a call. Each is stricter than those before it. */
const ACTIONS = ['allow', 'ask', 'deny'] as const
const Action = z.enum(ACTIONS)
type Action = z.infer<typeof Action>

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
      .enum(['anyone', 'other_than_starter'])
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

/** The rule for people: "Rule 1 of the server". Those of a tool are nobody's list. */
export const nameOfRule = ({ of, index }: RuleName): string =>
  of === 'tool' ? 'The tool itself' : `Rule ${index + 1} of the ${of}`

/** Rules that nobody can change. */
const OF_TOOLS: ApprovalRules = [
  { tool: NETWORK_TOOL, action: 'ask', reason: 'It gives the commands of the run more network' },
]

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
type Effect = {
  /** All must match for a rule to hold surely; one, to hold perhaps. */
  readonly command?: Names
  readonly path?: Names
  readonly doubt: string | null
}
type Names = { readonly all: readonly Text[]; readonly others: readonly Text[] }

const UNKNOWN: Names = { all: [[ANY]], others: [] }
const NOTHING: Names = { all: [], others: [] }

/**
 * The most characters of patterns times characters of texts that are compared, which takes some milliseconds: rules of a
 * project must not keep the server from everything else.
 */
const MAX_STEPS = 10_000_000
/** What it costs to look at a rule, beside the comparison of its patterns. */
const STEPS_OF_A_RULE = 150

/**
 * The decision about a call: the strictest that the rules of the run or of the server make about anything that the call
 * does. If there is too much of that to compare, nothing of it is known.
 */
export function judge(call: CallFacts, { run, server, lifted }: RunRules): Verdict {
  const lists = [
    { of: 'server', rules: server },
    { of: 'run', rules: run },
    { of: 'tool', rules: OF_TOOLS },
  ] as const
  const effects = effectsOf(call)
  const isTooMuch = stepsOf(effects, [...server, ...run]) > MAX_STEPS
  const verdicts = (isTooMuch ? [tooMuch(effects)] : effects).flatMap((effect) =>
    lists.flatMap(({ of, rules }) =>
      possibleRules(call, effect, rules).map(({ index, content, isSure }): Verdict => {
        const isLifted = lifted.some((rule) => rule.of === of && rule.index === index)
        const doubt = isSure ? null : doubtOf(call, effect)
        return { action: isLifted ? 'allow' : content.action, rule: { of, index, content }, doubt }
      }),
    ),
  )
  return verdicts.reduce((a, b) => (strictness(b) > strictness(a) ? b : a), NO_RULE)
}

function stepsOf(effects: readonly Effect[], rules: ApprovalRules): number {
  const patterns = rules.reduce((sum, { command = '', path = '' }) => {
    return sum + command.length + path.length
  }, 0)
  const texts = effects.flatMap(({ command = NOTHING, path = NOTHING }) => {
    return [command.all, command.others, path.all, path.others].flat(2)
  })
  const chars = texts.reduce((sum, part) => sum + (part?.length ?? 1), 0)
  return patterns * chars + effects.length * rules.length * STEPS_OF_A_RULE
}

/** Anything that the call may do. */
const tooMuch = (effects: readonly Effect[]): Effect => ({
  ...(effects.some(({ command }) => command) ? { command: UNKNOWN } : {}),
  ...(effects.some(({ path }) => path) ? { path: UNKNOWN } : {}),
  doubt: 'it is too long to be compared with all rules',
})

const NO_RULE: Verdict = { action: 'allow', rule: null, doubt: null }

/** A rule that only some people may answer is stricter than one that everybody may answer. */
const strictness = ({ action, rule }: Verdict): number =>
  ACTIONS.indexOf(action) * 2 + Number(rule?.content.by === 'other_than_starter')

const doubtOf = ({ touches }: CallFacts, { doubt }: Effect): string =>
  touches === null
    ? 'it is not known what this tool works with'
    : (doubt ?? 'it may run or touch more than it names')

/** All rules that may decide: those that perhaps apply, up to the first that surely applies. */
function possibleRules(call: CallFacts, effect: Effect, rules: ApprovalRules) {
  const possible: { index: number; content: ApprovalRule; isSure: boolean }[] = []
  for (const [index, content] of rules.entries()) {
    const held = holds(call, effect, content)
    if (held !== 'no') possible.push({ index, content, isSure: held === 'surely' })
    if (held === 'surely') break
  }
  return possible
}

type Held = 'no' | 'maybe' | 'surely'

function holds({ tool, touches, costUsd }: CallFacts, effect: Effect, rule: ApprovalRule): Held {
  const server = touches === null ? UNKNOWN : named(touches.mcpServer)
  const { cost_above_usd: limit = null } = rule
  const conditions: readonly Held[] = [
    limit === null || costUsd === null || costUsd > limit ? 'surely' : 'no',
    compare(rule.tool, named(tool), 'name'),
    compare(rule.mcp_server, server, 'name'),
    compare(rule.command, effect.command, 'command', effect.doubt),
    compare(rule.path, effect.path, 'path', effect.doubt),
  ]
  if (conditions.includes('no')) return 'no'
  return conditions.includes('maybe') ? 'maybe' : 'surely'
}

const named = (name: string | undefined): Names | undefined =>
  name === undefined ? undefined : { all: [[name]], others: [] }

function compare(
  pattern: string | undefined,
  names: Names | undefined,
  kind: Kind,
  doubt: string | null = null,
): Held {
  if (pattern === undefined) return 'surely'
  if (names === undefined) return 'no'
  const { all, others } = names
  const fits = (text: Text, how: 'surely' | 'maybe') => matches(pattern, text, kind, how)
  if (doubt === null && all.every((text) => fits(text, 'surely'))) return 'surely'
  return [...all, ...others].some((text) => fits(text, 'maybe')) ? 'maybe' : 'no'
}

/** What a call does, one by one. A call that touches nothing is one effect, too. */
function effectsOf({ touches }: CallFacts): readonly Effect[] {
  if (touches === null) return [{ command: UNKNOWN, path: UNKNOWN, doubt: null }]
  const { paths = [], trees = [], commands = [] } = touches
  const pathsOf = (all: readonly Text[]): Effect => ({ path: { all, others: [] }, doubt: null })
  const effects: readonly Effect[] = [
    ...paths.map((names) => pathsOf(names.map((name) => [name]))),
    ...trees.map((names) => pathsOf(names.map(below))),
    ...commands.flatMap(commandEffects),
  ]
  return effects.length === 0 ? [{ doubt: null }] : effects
}

const below = (folder: string): Text => (folder === '.' ? [ANY] : [`${folder}/`, ANY])

function commandEffects(line: string | null): readonly Effect[] {
  if (line === null) return [{ command: UNKNOWN, doubt: 'files of the project say what it runs' }]
  const split = splitCommand(line)
  if (split === null)
    return [{ command: UNKNOWN, doubt: 'it cannot be split into its commands with certainty' }]
  return split.map(({ text, others, doubt }) => ({ command: { all: [text], others }, doubt }))
}
