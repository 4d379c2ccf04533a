import { Checkbox } from '@mantine/core'
import { IconCheck, IconX } from '@tabler/icons-react'
import { useState } from 'react'
import { type CallDecision, nameOfRule } from '../../../src/api/records.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { client } from '../api/client.ts'
import { answerOf } from '../api/problem.ts'
import { Code } from '../code/code.tsx'
import type { RunView } from '../run/run-view.ts'
import { Asked } from '../timeline/tool-body.tsx'
import { textArg } from '../timeline/tool-gist.ts'
import { visible } from '../ui/foreign-text.ts'
import { asSentence } from '../ui/format.ts'
import classes from './questions.module.css'
import { type Choice, WaitingPanel } from './waiting-panel.tsx'

type Waiting = Extract<RunState['phase'], { type: 'awaiting_approval' }>

type Props = { readonly runId: string; readonly open: Waiting; readonly view: RunView }

const CHOICES: readonly [Choice<CallDecision>, Choice<CallDecision>] = [
  { decision: 'allow', label: 'Allow', icon: <IconCheck size={17} /> },
  { decision: 'deny', label: 'Deny', icon: <IconX size={16} /> },
]

/** A call that begins only when a person allows it. */
export function ApprovalPanel({ runId, open, view }: Props) {
  const { seq, callSha256: call_sha256, rule } = open
  const [liftsRule, setLiftsRule] = useState(false)
  return (
    <WaitingPanel
      testId="approval"
      title={`May the agent call ${visible(open.pending[0]?.tool ?? '')}?`}
      view={view}
      seq={seq}
      choices={CHOICES}
      reasonLabel="Reason: it is recorded, and the model reads it if you deny the call"
      placeholder="Optional reason"
      decide={(decision, grounds) => {
        const lifts_rule = liftsRule && decision === 'allow'
        const body = { decision, call_sha256, lifts_rule, ...grounds }
        return answerOf(client().runs.answer(runId, seq, body))
      }}
      more={(isBusy) =>
        rule.of === 'run' && (
          <Checkbox
            label="Stop asking for this rule in this run"
            checked={liftsRule}
            onChange={(event) => setLiftsRule(event.currentTarget.checked)}
            disabled={isBusy}
          />
        )
      }
    >
      <WaitingCall open={open} />
    </WaitingPanel>
  )
}

/** The rule that asks, and the call in full. */
function WaitingCall({ open }: { readonly open: Waiting }) {
  const [call] = open.pending
  const { rule, content, doubt } = open
  if (call === undefined) return null
  const path = textArg(call.args, 'path')
  const command = textArg(call.args, 'command')
  const why = content.reason === undefined ? '' : `: ${content.reason}`
  const asks = `${nameOfRule(rule)} asks${why}`
  const isEdit = call.tool === 'file_patch' || call.tool === 'file_write'
  return (
    <>
      <p className={classes.before}>
        {asSentence(asks)}
        {doubt !== null &&
          ` The rule applies because the call cannot be judged with certainty: ${visible(doubt)}.`}
        {content.by === 'other_than_starter' &&
          ' Somebody other than the person who started the run must answer.'}
      </p>
      {path !== null && <p className={classes.summary}>{visible(path)}</p>}
      {command !== null && <Code text={`$ ${command}`} copies={command} look="terminal" />}
      {isEdit ? (
        <Asked name={`approval ${open.seq}`} call={call} />
      ) : (
        <Code text={call.raw_args ?? JSON.stringify(call.args, null, 2)} language="json" />
      )}
    </>
  )
}
