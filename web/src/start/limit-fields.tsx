import { NumberInput, SimpleGrid } from '@mantine/core'
import type { Draft } from './draft.ts'

type Props = {
  readonly value: Draft
  readonly onChange: (changes: Partial<Draft>) => void
  readonly problem: (field: string) => string | undefined
}

/** How long the agent may try. */
export function TurnLimits({ value, onChange, problem }: Props) {
  return (
    <SimpleGrid cols={{ base: 1, xs: 2 }}>
      <NumberInput
        label="Iteration limit"
        placeholder="20"
        min={1}
        allowDecimal={false}
        value={value.max_iterations}
        onChange={(max_iterations) => onChange({ max_iterations })}
        error={problem('max_iterations')}
      />
      <NumberInput
        label="Turn limit"
        placeholder="50 an iteration"
        min={1}
        allowDecimal={false}
        value={value.max_turns_per_iteration}
        onChange={(max_turns_per_iteration) => onChange({ max_turns_per_iteration })}
        error={problem('max_turns_per_iteration')}
      />
    </SimpleGrid>
  )
}

/** What the run may use. */
export function BudgetLimits({ value, onChange, problem }: Props) {
  return (
    <SimpleGrid cols={{ base: 1, xs: 3 }}>
      <NumberInput
        label="Cost limit"
        placeholder="None"
        prefix="$"
        min={0}
        decimalScale={4}
        value={value.max_cost_usd}
        onChange={(max_cost_usd) => onChange({ max_cost_usd })}
        error={problem('max_cost_usd')}
      />
      <NumberInput
        label="Token limit"
        placeholder="None"
        min={1}
        allowDecimal={false}
        thousandSeparator=","
        value={value.max_tokens}
        onChange={(max_tokens) => onChange({ max_tokens })}
        error={problem('max_tokens')}
      />
      <NumberInput
        label="Working time limit"
        placeholder="None"
        suffix=" s"
        min={1}
        value={value.max_seconds}
        onChange={(max_seconds) => onChange({ max_seconds })}
        error={problem('max_seconds')}
      />
    </SimpleGrid>
  )
}
