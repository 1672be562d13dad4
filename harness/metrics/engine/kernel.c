/* The loops in which scoring spends its time; kernel.py says what they compute.

   A vector holds one number of eight neighbouring bins. Compilers turn it into whatever the
   processor has; on Linux the widest version that it can run is chosen when the library is loaded.
*/
#include <string.h>

#define TILE 8    /* bins treated together */
#define PAIR (2 * TILE) /* their real parts, then their imaginary parts */
#define LEADING 8 /* signals unpacked together */
#define BLOCKS 64 /* at most */
#define UNROLL 4  /* vectors summed side by side */
#define GROUP 4   /* delayed signals multiplied together; there are zeros up to a multiple */

typedef double vector __attribute__((vector_size(8 * TILE), aligned(8)));

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

/* Write the tile of `spectra` (rows, bins) that starts at `bin` to `out` (rows, PAIR). */
INLINE void unpack(const double *spectra, long rows, long bins, long bin, double *out)
{
    long width = bins - bin < TILE ? bins - bin : TILE;
    for (long row = 0; row < rows; row++, out += PAIR) {
        const double *in = spectra + 2 * (row * bins + bin);
        if (width < TILE)
            memset(out, 0, PAIR * sizeof *out);
        for (int k = 0; k < width; k++) {
            out[k] = in[2 * k];
            out[TILE + k] = in[2 * k + 1];
        }
    }
}

CLONES void pack(const double *const *spectra, long signals, long blocks, long bins, double *out)
{
    long step = blocks * PAIR, zeros = (GROUP - signals % GROUP) % GROUP * step;
    for (long bin = 0; bin < bins; bin += TILE) {
        for (long i = 0; i < signals; i++, out += step)
            unpack(spectra[i], blocks, bins, bin, out);
        memset(out, 0, zeros * sizeof *out);
        out += zeros;
    }
}

#define ADD(A, B) \
    re[A][B] += leading_re[A] * re_delayed; \
    re[A][B] += leading_im[A] * im_delayed; \
    im[A][B] += leading_im[A] * re_delayed; \
    im[A][B] -= leading_re[A] * im_delayed;

/* Sum leading · conj(delayed) over the blocks, for two leading and GROUP delayed signals. */
INLINE void sums(const double *leading, const double *delayed, long step,
                 vector re[2][GROUP], vector im[2][GROUP])
{
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < GROUP; b++)
            re[a][b] = im[a][b] = (vector){0};
    for (long n = 0; n < step; n += PAIR) {
        vector leading_re[2], leading_im[2];
        for (int a = 0; a < 2; a++) {
            leading_re[a] = *(const vector *)(leading + a * step + n);
            leading_im[a] = *(const vector *)(leading + a * step + n + TILE);
        }
#pragma GCC unroll 4
        for (int b = 0; b < GROUP; b++) {
            vector re_delayed = *(const vector *)(delayed + b * step + n);
            vector im_delayed = *(const vector *)(delayed + b * step + n + TILE);
            ADD(0, b)
            ADD(1, b)
        }
    }
}

CLONES void multiply(const double *const *leading, long signals, long blocks, long bins,
                     const double *delayed, long references, double *out)
{
    double own[(LEADING + 1) * BLOCKS * PAIR] __attribute__((aligned(64)));
    long padded = (references + GROUP - 1) / GROUP * GROUP, step = blocks * PAIR;
    for (long bin = 0; bin < bins; bin += TILE, delayed += padded * step) {
        long width = bins - bin < TILE ? bins - bin : TILE;
        for (long first = 0; first < signals; first += LEADING) {
            long count = signals - first < LEADING ? signals - first : LEADING;
            for (long i = 0; i < count; i++)
                unpack(leading[first + i], blocks, bins, bin, own + i * step);
            memset(own + count * step, 0, count % 2 * step * sizeof *own);
            for (long a = 0; a < count; a += 2)
                for (long b = 0; b < references; b += GROUP) {
                    vector re[2][GROUP], im[2][GROUP];
                    sums(own + a * step, delayed + b * step, step, re, im);
                    for (long i = 0; i < 2 && a + i < count; i++)
                        for (long j = 0; j < GROUP && b + j < references; j++) {
                            double *to = out + 2 * (((first + a + i) * references + b + j) * bins + bin);
                            for (long k = 0; k < width; k++) {
                                to[2 * k] = re[i][j][k];
                                to[2 * k + 1] = im[i][j][k];
                            }
                        }
                }
        }
    }
}

/* One function for each type of sample; a reading of SIZE samples into a vector. */
INLINE double total(const vector *x)
{
    double sum = 0;
    for (int k = 0; k < TILE; k++)
        sum += (*x)[k];
    return sum;
}

#define READ(TO, FROM) \
    vector TO; \
    for (int k = 0; k < TILE; k++) \
        TO[k] = (FROM)[k];

#define CUT(NAME, SAMPLE) \
    CLONES double NAME(const SAMPLE *row, long samples, long blocks, long hop, long length, double *out) \
    { \
        vector sum[UNROLL] = {{0}}; \
        double rest = 0; \
        for (long block = 0; block < blocks; block++, row += hop, samples -= hop, out += length) { \
            long count = samples < 0 ? 0 : samples < hop ? samples : hop, n = 0; \
            for (; n + UNROLL * TILE <= count; n += UNROLL * TILE) \
                for (int v = 0; v < UNROLL; v++) { \
                    READ(x, row + n + v * TILE) \
                    *(vector *)(out + n + v * TILE) = x; \
                    sum[v] += x * x; \
                } \
            for (; n < count; n++) { \
                out[n] = row[n]; \
                rest += out[n] * out[n]; \
            } \
            memset(out + count, 0, (length - count) * sizeof *out); \
        } \
        sum[0] += sum[1] + (sum[2] + sum[3]); \
        return rest + total(sum); \
    }

#define INNER(NAME, SAMPLE) \
    CLONES void NAME(const SAMPLE *left, const SAMPLE *right, long samples, double *out) \
    { \
        vector xx[2] = {{0}}, yy[2] = {{0}}, dd[2] = {{0}}, xy[2] = {{0}}; \
        long n = 0; \
        for (; n + 2 * TILE <= samples; n += 2 * TILE) \
            for (int v = 0; v < 2; v++) { \
                READ(x, left + n + v * TILE) \
                READ(y, right + n + v * TILE) \
                vector d = x - y; \
                xx[v] += x * x, yy[v] += y * y, dd[v] += d * d, xy[v] += x * y; \
            } \
        xx[0] += xx[1], yy[0] += yy[1], dd[0] += dd[1], xy[0] += xy[1]; \
        out[0] += total(xx), out[1] += total(yy), out[2] += total(dd), out[3] += total(xy); \
        for (; n < samples; n++) { \
            double x = left[n], y = right[n]; \
            out[0] += x * x, out[1] += y * y, out[2] += (x - y) * (x - y), out[3] += x * y; \
        } \
    }

CUT(cut_float, float)
CUT(cut_double, double)
INNER(inner_float, float)
INNER(inner_double, double)
