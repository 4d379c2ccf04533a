import { IconSparkles } from '@tabler/icons-react'
import type { RowOf } from '../run/rows.ts'
import { counted, formatCost, formatCount, formatDuration } from '../ui/format.ts'
import { Frame } from './frame.tsx'
import classes from './rows.module.css'
import { Words } from './words.tsx'

type Props = { readonly row: RowOf<'message'>; readonly moment: number }

/** How replies ended that are not whole. */
const ENDINGS: Readonly<Record<string, string>> = {
  length: 'cut off at its length limit',
  overflow: 'cut off by the context window',
  refusal: 'refused',
  pause: 'interrupted by the provider',
  empty: 'empty',
  malformed: 'with a call that cannot be read',
}

export function MessageRow({ row: { usage, message }, moment }: Props) {
  const said = message !== null && message.seq <= moment ? message.payload : null
  const { input_tokens, output_tokens, cost_usd, duration_ms, model_name, omitted_turns } =
    usage.payload
  const ending = said === null ? undefined : ENDINGS[said.finish_reason]
  return (
    <Frame
      records={said === null || message === null ? [usage] : [usage, message]}
      icon={<IconSparkles size={15} stroke={1.7} />}
    >
      {said !== null && said.text !== null && said.text !== '' && <Words text={said.text} />}
      <div className={classes.facts}>
        <span>{model_name}</span>
        <span>
          {formatCount(input_tokens)} in, {formatCount(output_tokens)} out
        </span>
        <span>{formatDuration(duration_ms / 1000)}</span>
        {cost_usd !== null && <span>{formatCost(cost_usd)}</span>}
        {omitted_turns > 0 && <span>{counted(omitted_turns, 'earlier turn')} left out</span>}
        {ending !== undefined && <span title={said?.notice}>{ending}</span>}
      </div>
    </Frame>
  )
}
