import type { RunDetails, RunRequest } from '../../../src/client/index.ts'
import { newId } from './goal-draft.ts'

/** A rule for calls, as the API shows it. */
export type Rule = NonNullable<RunDetails['approvals']>['run'][number]

export const ACTIONS = [
  { value: 'ask', label: 'asks a person' },
  { value: 'deny', label: 'is denied' },
  { value: 'allow', label: 'is allowed' },
] as const

/** A rule as it is filled in. Empty: ''. */
export type RuleDraft = {
  readonly id: string
  readonly action: Rule['action']
  readonly tool: string
  readonly command: string
  readonly path: string
  readonly mcp_server: string
  readonly cost_above_usd: number | string
  /** Somebody other than the person who starts the run must answer. */
  readonly isByOther: boolean
  readonly reason: string
}

export const emptyRule = (): RuleDraft => ({
  ...{ id: newId(), action: 'ask', tool: '', command: '', path: '', mcp_server: '' },
  ...{ cost_above_usd: '', isByOther: false, reason: '' },
})

const TEXTS = ['tool', 'command', 'path', 'mcp_server', 'reason'] as const

/** The rules in the form of the request; undefined if there are none. */
export function rulesOf(drafts: readonly RuleDraft[]): RunRequest['approvals'] {
  if (drafts.length === 0) return undefined
  return drafts.map((draft): Rule => {
    const { action, cost_above_usd: cost, isByOther } = draft
    const texts = TEXTS.flatMap((name) => {
      const text = draft[name].trim()
      return text === '' ? [] : [[name, text] as const]
    })
    return {
      ...Object.fromEntries(texts),
      ...(cost === '' ? {} : { cost_above_usd: Number(cost) }),
      ...(isByOther && action === 'ask' ? { by: 'other_than_starter' as const } : {}),
      action,
    }
  })
}

/** A rule in a sentence. */
export function ruleText({ action, by, reason, cost_above_usd, ...rule }: Rule): string {
  const named = [
    ...(rule.tool === undefined ? [] : [`of the tool ${rule.tool}`]),
    ...(rule.command === undefined ? [] : [`that runs ${rule.command}`]),
    ...(rule.path === undefined ? [] : [`on ${rule.path}`]),
    ...(rule.mcp_server === undefined ? [] : [`of the MCP server ${rule.mcp_server}`]),
    ...(cost_above_usd === undefined ? [] : [`after the run has cost $${cost_above_usd}`]),
  ]
  const which = named.length === 0 ? 'Every call' : `A call ${named.join(' ')}`
  const what = ACTIONS.find(({ value }) => value === action)?.label ?? action
  const who = by === 'other_than_starter' ? ' who did not start the run' : ''
  return `${which} ${what}${who}${reason === undefined ? '' : `: ${reason}`}`
}
