import type { RunDetails } from '../../../src/client/index.ts'

/** A rule for calls, as the API shows it. */
type Rule = NonNullable<RunDetails['approvals']>['run'][number]

const ACTIONS: Readonly<Record<Rule['action'], string>> = {
  ask: 'asks a person',
  deny: 'is denied',
  allow: 'is allowed',
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
  const who = by === 'other_than_starter' ? ' who did not start the run' : ''
  return `${which} ${ACTIONS[action]}${who}${reason === undefined ? '' : `: ${reason}`}`
}
