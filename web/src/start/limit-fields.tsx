import { SimpleGrid, Text } from '@mantine/core'
import type { Limit } from '../../../src/api/records.ts'
import type { FieldsOf, FormOf } from '../ui/field.ts'
import { NumberField } from '../ui/number-field.tsx'
import type { LimitDraft } from './draft.ts'

const LOOKS = {
  max_iterations: { label: 'Iteration limit', isCount: true },
  max_cost_usd: {
    label: 'Cost limit, US dollars',
    placeholder: 'None',
    min: 0,
    decimalScale: 4,
  },
  max_tokens: {
    label: 'Token limit',
    placeholder: 'None',
    isCount: true,
    thousandSeparator: ',',
  },
  max_seconds: { label: 'Working time limit, seconds', placeholder: 'None', min: 1 },
} as const

type FieldProps<L extends Limit> = {
  readonly name: L
  readonly form: FieldsOf<Readonly<Record<L, number | string>>>
  readonly placeholder?: string
  readonly description?: string
  readonly disabled?: boolean
  readonly 'data-autofocus'?: boolean
}

export const LimitField = <L extends Limit>({ name, form, ...more }: FieldProps<L>) => (
  <NumberField name={name} form={form} {...LOOKS[name]} {...more} />
)

/** What the run may use. */
export function BudgetLimits(form: FormOf<LimitDraft>) {
  return (
    <div>
      <SimpleGrid cols={{ base: 1, xs: 3 }}>
        <LimitField name="max_cost_usd" form={form} />
        <LimitField name="max_tokens" form={form} />
        <LimitField name="max_seconds" form={form} />
      </SimpleGrid>
      <Text size="xs" c="dimmed" mt={4}>
        No request is sent whose highest price would pass the cost limit: nothing cached, and the
        longest reply.
      </Text>
    </div>
  )
}
