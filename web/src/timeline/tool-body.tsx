import type { ComponentProps } from 'react'
import type { PartText } from '../../../src/client/index.ts'
import { Code } from '../code/code.tsx'
import { Folded } from '../code/fold.tsx'
import { languageOf } from '../code/languages.ts'
import { Patch } from '../code/patch.tsx'
import type { SeqRecordOf } from '../run/seq-record.ts'
import classes from './rows.module.css'
import { textArg } from './tool-gist.ts'
import { ShownImage, WholeOutput } from './whole-output.tsx'

type Call = SeqRecordOf<'tool_call'>
export type AskedCall = Pick<Call['payload'], 'tool' | 'args' | 'raw_args'>

/** The arguments of a call, in the form that reads best. @param name of the call, for what a person unfolds */
export function Asked({ name, call }: { readonly name: string; readonly call: AskedCall }) {
  const { tool, args, raw_args } = call
  const asked = `asked ${name}`
  if (raw_args !== undefined) {
    return (
      <>
        <p className={classes.nothing}>The arguments are not a JSON object</p>
        <FoldedCode name={asked} text={raw_args} />
      </>
    )
  }
  const path = textArg(args, 'path')
  const edits = tool === 'file_patch' ? editsOf(args) : []
  if (edits.length > 0) {
    return edits.map(({ old, fresh }, index) => (
      <Patch
        // biome-ignore lint/suspicious/noArrayIndexKey: edits have no other name and never move
        key={index}
        name={index === 0 ? asked : `${asked} ${index}`}
        old={old}
        fresh={fresh}
        language={languageOf(path ?? '')}
      />
    ))
  }
  const patch = textArg(args, 'input')
  if (tool === 'apply_patch' && patch !== null) {
    return <FoldedCode name={asked} text={patch} language="diff" />
  }
  const content = textArg(args, 'content')
  if (tool === 'file_write' && content !== null) {
    return <FoldedCode name={asked} text={content} language={languageOf(path ?? '')} />
  }
  const command = textArg(args, 'command')
  if ((tool === 'bash_exec' || tool === 'process_start') && command !== null) {
    return <FoldedCode name={asked} text={`$ ${command}`} copies={command} look="terminal" />
  }
  const told = Object.keys(args).length > (path === null ? 0 : 1)
  if (!told) return null
  return <FoldedCode name={asked} text={JSON.stringify(args, null, 2)} language="json" />
}

type FoldedProps = Omit<ComponentProps<typeof Folded>, 'children'> & ComponentProps<typeof Code>

/** Code of which a long one is shortened until a person opens it. */
const FoldedCode = ({ name, text, by = 'head', ...look }: FoldedProps) => (
  <Folded name={name} text={text} by={by}>
    {(shown) => <Code text={shown} {...look} />}
  </Folded>
)

/** The edits of a call, if all of them are as they should be. */
function editsOf(args: AskedCall['args']): { readonly old: string; readonly fresh: string }[] {
  const asked = Array.isArray(args.edits) ? args.edits : [args]
  const edits = asked.flatMap((edit) => {
    if (typeof edit !== 'object' || edit === null || Array.isArray(edit)) return []
    const [old, fresh] = [textArg(edit, 'old'), textArg(edit, 'new')]
    return old === null || fresh === null ? [] : [{ old, fresh }]
  })
  return edits.length === asked.length ? edits : []
}

/** Tools that answer in a sentence. What comes after it repeats what was asked. */
const TOLD = new Set(['file_delete', 'file_patch', 'file_rename', 'file_write'])
const IN_TERMINAL = new Set([
  'bash_exec',
  'run_pytest',
  'process_start',
  'process_read',
  'process_input',
  'process_stop',
])

type OutputProps = { readonly call: Call; readonly result: SeqRecordOf<'tool_result'> }

export function Output({ call, result }: OutputProps) {
  const { tool, output, outcome, truncated, bytes, sha256, image } = result.payload
  const terminal = IN_TERMINAL.has(tool)
  if (image !== undefined) {
    return (
      <>
        {output.includes('\n') ? (
          <FoldedCode name={`output ${result.seq}`} text={output} />
        ) : (
          <p className={classes.nothing}>{output}</p>
        )}
        <ShownImage result={result} />
      </>
    )
  }
  if (output.trim() === '') return <p className={classes.nothing}>No output</p>
  if (TOLD.has(tool) && (outcome === 'ok' || !output.includes('\n'))) {
    return <p className={classes.nothing}>{output.split('\n', 1)}</p>
  }
  const look = terminal ? 'terminal' : 'code'
  const part = (
    <FoldedCode
      name={`output ${result.seq}`}
      text={output}
      by={terminal ? 'tail' : 'head'}
      language={terminal ? 'ansi' : outputLanguage(call)}
      look={look}
    />
  )
  if (!truncated || sha256 === null) return part
  return (
    <WholeOutput bytes={bytes} sha256={sha256} look={look}>
      {part}
    </WholeOutput>
  )
}

/** What a command that runs has printed so far. */
export function WrittenOutput({ part: { key, text, lost } }: { readonly part: PartText }) {
  return (
    <div data-partial>
      <FoldedCode
        name={key}
        text={`${lost > 0 ? '…' : ''}${text}`}
        {...({ by: 'tail', language: 'ansi', look: 'terminal' } as const)}
      />
    </div>
  )
}

function outputLanguage({ payload: { tool, args } }: Call): string | null {
  if (tool === 'git_diff') return 'diff'
  return tool === 'file_read' ? languageOf(textArg(args, 'path') ?? '') : null
}
