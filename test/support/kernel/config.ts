// The read-only configuration of the programs, as tests and benches set it.
import { decode } from '../../../src/abi/codec.ts';
import { slbConfig, type SlbConfigRow } from '../../../src/abi/layout.gen.ts';

/** Fields that are not named are 0: an option that is new leaves the others' tests as they are. */
export function configWith(fields: Partial<SlbConfigRow>): SlbConfigRow {
  return { ...decode(slbConfig, new Uint8Array(slbConfig.size)), ...fields };
}
