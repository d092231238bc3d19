/* One step of SGD on a softmax head, float32, written for its compiler: the limit that `gradient_step` names.
 *
 * w: classes x (features + 1), x: batch x (features + 1) with a one at the end of each row, y: batch.
 * Rows are padded to nothing; CLASSES and BATCH are known when it is compiled, so that the loops over them unroll. */
#include <math.h>

void step(float *restrict w, const float *restrict x, const long *restrict y, int size, float rate) {
    float share[BATCH][CLASSES];
    for (int b = 0; b < BATCH; b++) {
        const float *restrict row = x + (long)b * size;
        float most = -1e30f, sum = 0.0f;
        for (int c = 0; c < CLASSES; c++) {
            const float *restrict weights = w + (long)c * size;
            float score = 0.0f;
            for (int d = 0; d < size; d++) score += weights[d] * row[d];
            share[b][c] = score;
            if (score > most) most = score;
        }
        for (int c = 0; c < CLASSES; c++) { share[b][c] = expf(share[b][c] - most); sum += share[b][c]; }
        for (int c = 0; c < CLASSES; c++) share[b][c] = -rate * (share[b][c] / sum - (y[b] == c)) / BATCH;
    }
    for (int c = 0; c < CLASSES; c++) {
        float *restrict weights = w + (long)c * size;
        for (int b = 0; b < BATCH; b++) {
            const float *restrict row = x + (long)b * size;
            const float s = share[b][c];
            for (int d = 0; d < size; d++) weights[d] += s * row[d];
        }
    }
}
